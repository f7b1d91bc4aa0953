//! Statistics: medians, ratios and percentiles of a few rounds.

/// The middle value, or the mean of the two in the middle; NaN when there is none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => f64::NAN,
        (length, middle) if length % 2 == 1 => sorted[middle],
        (_, middle) => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// The median of the ratios of rounds that took turns: a slow minute of the machine slows both sides of a round.
pub fn median_ratio(ours: &[f64], theirs: &[f64]) -> f64 {
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs).collect();
    median(&ratios)
}

/// The value below which this share (0 to 1) of sorted values lies; 0 when there is none.
pub fn percentile(sorted: &[f64], share: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return 0.0 };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    let index = (sorted.len() as f64 * share) as usize;
    sorted[index.min(last)]
}

/// A number of things as a floating-point number: counts here stay far below 2^52.
#[expect(clippy::cast_precision_loss)]
pub fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::{median, median_ratio, percentile};

    fn same(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn the_median_does_not_depend_on_the_order() {
        assert!(same(median(&[5.0, 1.0, 9.0]), 5.0));
        assert!(same(median(&[4.0, 1.0, 9.0, 2.0]), 3.0));
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_ratio_is_taken_in_each_round() {
        // In the second round the machine was slow, for both.
        assert!(same(median_ratio(&[10.0, 1.0, 12.0], &[20.0, 2.0, 20.0]), 0.5));
    }

    #[test]
    fn percentiles_stay_within_the_values() {
        let sorted: Vec<f64> = (0..100).map(f64::from).collect();
        assert!(same(percentile(&sorted, 0.5), 50.0));
        assert!(same(percentile(&sorted, 1.0), 99.0));
        assert!(same(percentile(&[], 0.5), 0.0));
    }
}
