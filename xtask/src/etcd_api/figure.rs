//! One number of one side, and what all its rounds come to.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::compare::median;

/// Which number is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Better {
    More,
    Less,
    /// It says something of the load, not of the servers.
    Neither,
}

/// One number.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    pub(super) what: String,
    pub(super) value: f64,
    pub(super) unit: &'static str,
    pub(super) better: Better,
}

impl Figure {
    pub(super) fn new(what: impl Into<String>, value: f64, unit: &'static str, better: Better) -> Figure {
        Figure { what: what.into(), value, unit, better }
    }

    pub(super) fn rate(what: impl Into<String>, value: f64) -> Figure {
        Figure::new(what, value, "/s", Better::More)
    }

    pub(super) fn milliseconds(what: impl Into<String>, value: f64) -> Figure {
        Figure::new(what, value, " ms", Better::Less)
    }

    pub(super) fn seconds(what: impl Into<String>, value: Duration) -> Figure {
        Figure::new(what, value.as_secs_f64(), " s", Better::Less)
    }

    pub(super) fn mebibytes(what: impl Into<String>, bytes: u64) -> Figure {
        Figure::new(what, bytes as f64 / f64::from(1 << 20), " MiB", Better::Less)
    }

    /// As many digits as can be believed.
    pub(super) fn show(&self, value: f64) -> String {
        let decimals = match value.abs() {
            0.0 => 0,
            small if small < 10.0 => 2,
            middle if middle < 100.0 => 1,
            _ => 0,
        };
        format!("{value:.decimals$}{}", self.unit)
    }
}

/// All figures of one side, in the order in which they came, with the values of all rounds.
#[derive(Default)]
pub(super) struct Side(Vec<(Figure, Vec<f64>)>);

impl Side {
    pub(super) fn add(&mut self, figure: Figure) {
        match self.0.iter_mut().find(|(known, _)| known.what == figure.what) {
            Some((_, values)) => values.push(figure.value),
            None => {
                let values = vec![figure.value];
                self.0.push((figure, values));
            }
        }
    }

    pub(super) fn figures(&self) -> impl Iterator<Item = &Figure> {
        self.0.iter().map(|(figure, _)| figure)
    }

    /// The median of the rounds.
    pub(super) fn middle(&self, what: &str) -> Option<f64> {
        let (_, values) = self.0.iter().find(|(figure, _)| figure.what == what)?;
        Some(median(values.iter().copied()))
    }
}

/// In milliseconds, of a histogram in microseconds.
pub(super) fn percentile_ms(of: &Histogram<u64>, percentile: f64) -> f64 {
    of.value_at_percentile(percentile) as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_of_one_figure_come_to_their_median() {
        let mut side = Side::default();
        for value in [3.0, 1.0, 2.0] {
            side.add(Figure::rate("puts", value));
        }
        assert_eq!(side.figures().count(), 1);
        assert_eq!(side.middle("puts"), Some(2.0));
        assert_eq!(side.middle("gets"), None);
    }

    #[test]
    fn a_number_is_shown_with_as_many_digits_as_can_be_believed() {
        let figure = Figure::milliseconds("", 0.0);
        assert_eq!(
            [1.234, 12.34, 1234.5, 0.0].map(|value| figure.show(value)),
            ["1.23 ms", "12.3 ms", "1234 ms", "0 ms"]
        );
    }
}
