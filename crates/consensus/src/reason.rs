//! Why something happened, as data.

/// Why an engine did what it did: the rule it followed and the values it saw. Data, never text: the Lab and a failing seed's report
/// put it into words, in any language.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason {
    /// The rule of `docs/rules.md`, such as `"R07"`.
    pub rule: &'static str,
    /// What happened, as a stable name, such as `"vote_refused_older_log"`.
    pub what: &'static str,
    /// The values that decided, by name, in a fixed order.
    pub values: Vec<(&'static str, u64)>,
}

impl Reason {
    /// The reason `what` under `rule`, with its values.
    #[must_use]
    pub fn new(rule: &'static str, what: &'static str, values: &[(&'static str, u64)]) -> Reason {
        Reason { rule, what, values: values.to_vec() }
    }
}
