//! Sets of measured values: median, extremes, percentiles.

use serde::Serialize;

/// Values of one measurement, one per run, in a unit the figure names.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Sample {
    runs: Vec<f64>,
}

impl Sample {
    /// Takes the values; `None` when there is not one, or one is not a number.
    pub(crate) fn new(runs: Vec<f64>) -> Option<Self> {
        let sound = !runs.is_empty() && runs.iter().all(|value| value.is_finite());
        sound.then_some(Self { runs })
    }

    /// The middle value; the mean of the two middle ones when there is an even number.
    pub(crate) fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        if sorted.len() % 2 == 1 {
            sorted[middle]
        } else {
            f64::midpoint(sorted[middle - 1], sorted[middle])
        }
    }

    /// The value that `percent` of the values do not pass (nearest rank).
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let sorted = self.sorted();
        let rank = (sorted.len() * percent)
            .div_ceil(100)
            .clamp(1, sorted.len());
        sorted[rank - 1]
    }

    /// The smallest value.
    pub(crate) fn min(&self) -> f64 {
        self.runs.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The largest value.
    pub(crate) fn max(&self) -> f64 {
        self.runs.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.runs.len()
    }

    /// The values as they were measured.
    pub(crate) fn runs(&self) -> &[f64] {
        &self.runs
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.runs.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::Sample;

    fn sample(values: &[f64]) -> Sample {
        Sample::new(values.to_vec()).expect("values")
    }

    #[test]
    fn median_is_the_middle_and_of_two_middles_the_mean() {
        assert!((sample(&[9.0, 1.0, 5.0]).median() - 5.0).abs() < f64::EPSILON);
        assert!((sample(&[4.0, 1.0, 2.0, 100.0]).median() - 3.0).abs() < f64::EPSILON);
    }

    #[test]
    fn percentile_is_a_measured_value() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert!((sample(&hundred).percentile(99) - 99.0).abs() < f64::EPSILON);
        assert!((sample(&[7.0]).percentile(99) - 7.0).abs() < f64::EPSILON);
    }

    #[test]
    fn nothing_measured_is_not_a_sample() {
        assert_eq!(Sample::new(Vec::new()), None);
        assert_eq!(Sample::new(vec![1.0, f64::NAN]), None);
    }
}
