//! Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write as _};

/// A page under construction: families one after another, each with its samples.
#[derive(Debug, Default)]
pub(super) struct Page(String);

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Page {
    pub(super) fn text(self) -> String {
        self.0
    }

    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { page: self, name }
    }

    pub(super) fn counter(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, Kind::Counter, help).sample(&[], value);
    }

    pub(super) fn gauge(&mut self, name: &'static str, help: &str, value: impl Display) {
        self.family(name, Kind::Gauge, help).sample(&[], value);
    }

    /// `buckets` are cumulative, each with its upper bound in seconds.
    pub(super) fn histogram(
        &mut self,
        name: &'static str,
        help: &str,
        buckets: impl Iterator<Item = (f64, u64)>,
        (count, sum_s): (u64, f64),
    ) {
        self.family(name, Kind::Histogram, help);
        for (bound, within) in buckets {
            let _ = writeln!(self.0, "{name}_bucket{{le=\"{bound}\"}} {within}");
        }
        let _ = write!(
            self.0,
            "{name}_bucket{{le=\"+Inf\"}} {count}\n{name}_sum {sum_s}\n{name}_count {count}\n"
        );
    }
}

/// A family whose samples are being written.
pub(super) struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
}

impl Family<'_> {
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        let text = &mut self.page.0;
        text.push_str(self.name);
        for (at, (label, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            let _ = write!(text, "{before}{label}=\"");
            for character in value.chars() {
                match character {
                    '\\' => text.push_str("\\\\"),
                    '"' => text.push_str("\\\""),
                    '\n' => text.push_str("\\n"),
                    other => text.push(other),
                }
            }
            text.push('"');
        }
        if !labels.is_empty() {
            text.push('}');
        }
        let _ = writeln!(text, " {value}");
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_families_have_their_type() {
        let mut page = Page::default();
        page.gauge("a", "What a is", 1);
        page.family("b_total", Kind::Counter, "What b is").sample(&[("x", "\"\\\n"), ("y", "")], 2);
        page.histogram("c", "What c is", [(0.5, 1)].into_iter(), (2, 1.25));
        assert_eq!(
            page.text(),
            "# HELP a What a is\n# TYPE a gauge\na 1\n\
             # HELP b_total What b is\n# TYPE b_total counter\nb_total{x=\"\\\"\\\\\\n\",y=\"\"} 2\n\
             # HELP c What c is\n# TYPE c histogram\nc_bucket{le=\"0.5\"} 1\nc_bucket{le=\"+Inf\"} 2\nc_sum 1.25\nc_count 2\n"
        );
    }
}
