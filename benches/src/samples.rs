//! What was measured several times, and how far that is apart.

use serde_json::{Value, json};

/// One quantity, several times. Quantities that were measured once a round can be compared round by
/// round.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Samples {
    values: Vec<f64>,
}

impl Samples {
    /// Adds what was measured next.
    pub(crate) fn push(&mut self, value: f64) {
        self.values.push(value);
    }

    /// Adds more of the same.
    pub(crate) fn append(&mut self, mut more: Self) {
        self.values.append(&mut more.values);
    }

    /// Compares with another quantity, round by round: what disturbed a whole round cancels out.
    pub(crate) fn against(&self, other: &Self, compare: impl Fn(f64, f64) -> f64) -> Self {
        let pairs = self.values.iter().zip(&other.values);
        pairs.map(|(&own, &other)| compare(own, other)).collect()
    }

    /// By how much this is more than `other`.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        self.against(other, |own, other| own - other)
    }

    /// How many times `other` this is.
    pub(crate) fn ratio_to(&self, other: &Self) -> Self {
        self.against(other, |own, other| own / other)
    }

    /// Each value changed in the same way.
    pub(crate) fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        self.values.iter().map(|&value| change(value)).collect()
    }

    /// Smallest, middle and largest value; all NaN without any.
    pub(crate) fn spread(&self) -> Spread {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        let last = sorted.len().saturating_sub(1);
        Spread {
            min: at(0),
            // Both are the same if their number is odd.
            median: (at(last / 2) + at(last.div_ceil(2))) / 2.0,
            max: at(last),
        }
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self {
            values: values.into_iter().collect(),
        }
    }
}

/// How far the rounds are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// The three numbers, with three decimals: more would be noise.
    pub(crate) fn to_json(self) -> Value {
        let round = |value: f64| (value * 1000.0).round() / 1000.0;
        json!({
            "min": round(self.min),
            "median": round(self.median),
            "max": round(self.max),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(values: &[f64]) -> Samples {
        values.iter().copied().collect()
    }

    #[test]
    fn the_median_of_an_odd_number_is_one_of_them() {
        let spread = samples(&[9.0, 1.0, 2.0]).spread();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 9.0));
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(samples(&[4.0, 1.0, 2.0, 100.0]).spread().median, 3.0);
    }

    #[test]
    fn one_round_has_no_spread_and_none_has_no_numbers() {
        let one = samples(&[5.0]).spread();
        assert_eq!((one.min, one.median, one.max), (5.0, 5.0, 5.0));
        assert!(Samples::default().spread().median.is_nan());
    }

    #[test]
    fn rounds_are_compared_with_themselves() {
        // The second round was twice as slow for both.
        let (slow, fast) = (samples(&[30.0, 60.0, 30.0]), samples(&[10.0, 20.0, 10.0]));
        assert_eq!(slow.ratio_to(&fast), samples(&[3.0, 3.0, 3.0]));
        assert_eq!(slow.minus(&fast), samples(&[20.0, 40.0, 20.0]));
        assert_eq!(fast.map(|ns| 2.0 * ns), samples(&[20.0, 40.0, 20.0]));
    }

    #[test]
    fn json_has_no_more_digits_than_it_should() {
        let spread = samples(&[1.0 / 3.0]).spread();
        assert_eq!(spread.to_json()["median"], 0.333);
    }
}
