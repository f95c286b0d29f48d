//! How likely a difference is to be chance: of the means of two samples (Welch's t-test), and of a z-score.

use std::f64::consts::PI;

/// A sample: how many values, their mean, their variance.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    pub count: f64,
    pub mean: f64,
    pub variance: f64,
}

/// The probability that means differ as much by chance, whichever way; `None` for samples of less than two values.
pub fn t_test(a: Sample, b: Sample) -> Option<f64> {
    if a.count < 2.0 || b.count < 2.0 {
        return None;
    }
    let (of_a, of_b) = (a.variance / a.count, b.variance / b.count);
    let t = (a.mean - b.mean) / (of_a + of_b).sqrt();
    let freedom = (of_a + of_b).powi(2) / (of_a.powi(2) / (a.count - 1.0) + of_b.powi(2) / (b.count - 1.0));
    // Both samples of one and the same value.
    if t.is_nan() {
        return None;
    }
    if t.is_infinite() {
        return Some(0.0);
    }
    Some(beta(freedom / (freedom + t * t), freedom / 2.0, 0.5))
}

/// The probability of a z-score this far from 0, whichever way.
pub fn z_test(z: f64) -> f64 {
    // A normal is the square root of a chi-squared of one degree: the upper part of the incomplete gamma of 1/2.
    let x = z * z / 2.0;
    if z.is_nan() {
        f64::NAN
    } else if x > 745.0 {
        // Below the smallest double; its terms would be infinite.
        0.0
    } else if x < 1.5 {
        // By its series.
        let (mut term, mut sum) = (2.0, 2.0);
        for n in 1..STEPS {
            term *= x / (0.5 + f64::from(n));
            sum += term;
        }
        1.0 - sum * (-x).exp() * x.sqrt() / PI.sqrt()
    } else {
        // By its continued fraction (Lentz).
        let mut b = x + 0.5;
        let (mut c, mut d) = (1.0 / TINY, 1.0 / b);
        let mut h = d;
        for n in 1..STEPS {
            let a = -f64::from(n) * (f64::from(n) - 0.5);
            b += 2.0;
            d = 1.0 / away(a * d + b);
            c = away(b + a / c);
            h *= c * d;
        }
        (-x).exp() * x.sqrt() / PI.sqrt() * h
    }
}

/// Enough for all digits of a double, wherever these are asked.
const STEPS: i32 = 300;
const TINY: f64 = 1e-300;

fn away(value: f64) -> f64 {
    if value.abs() < TINY { TINY } else { value }
}

/// The regularized incomplete beta function (Lentz's continued fraction).
fn beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    let front = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (1.0 - x).ln()).exp();
    // It converges fast on one side of the middle only.
    if x < (a + 1.0) / (a + b + 2.0) {
        front * fraction(x, a, b) / a
    } else {
        1.0 - front * fraction(1.0 - x, b, a) / b
    }
}

fn fraction(x: f64, a: f64, b: f64) -> f64 {
    let mut c = 1.0;
    let mut d = 1.0 / away(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for m in 1..STEPS {
        let m = f64::from(m);
        for numerator in [
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0)),
        ] {
            d = 1.0 / away(1.0 + numerator * d);
            c = away(1.0 + numerator / c);
            h *= c * d;
        }
    }
    h
}

/// Of a positive number (Lanczos).
fn ln_gamma(x: f64) -> f64 {
    const G: [f64; 6] = [
        76.180_091_729_471_46,
        -86.505_320_329_416_77,
        24.014_098_240_830_91,
        -1.231_739_572_450_155,
        0.120_865_097_386_617_5e-2,
        -0.539_523_938_495_3e-5,
    ];
    let sum = G.iter().zip(1..).fold(1.000_000_000_190_015, |sum, (g, i)| sum + g / (x + f64::from(i)));
    let base = x + 5.5;
    (x + 0.5) * base.ln() - base + ((2.0 * PI).sqrt() * sum / x).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }

    #[test]
    fn probabilities_are_those_of_the_tables() {
        near(z_test(0.0), 1.0);
        near(z_test(1.0), 0.317_310_507_862_914_1);
        near(z_test(-1.959_963_984_540_054), 0.05);
        near(z_test(4.0), 6.334_248_366_623_973e-5);
        let sample = |count, mean, variance| Sample { count, mean, variance };
        // With one degree of freedom each it is a Cauchy distribution for equal variances of two degrees: t = 1.
        near(t_test(sample(2.0, 1.0, 1.0), sample(2.0, 0.0, 1.0)).unwrap(), 1.0 - 1.0 / 3f64.sqrt());
        near(t_test(sample(10.0, 5.0, 4.0), sample(20.0, 5.0, 1.0)).unwrap(), 1.0);
        assert_eq!(t_test(sample(1.0, 5.0, 0.0), sample(20.0, 5.0, 1.0)), None);
        assert_eq!(t_test(sample(3.0, 5.0, 0.0), sample(3.0, 6.0, 0.0)), Some(0.0));
        // Of many values it is a normal distribution.
        let many = t_test(sample(1e9, 1.0, 0.5e9), sample(1e9, 0.0, 0.5e9)).unwrap();
        assert!((many - z_test(1.0)).abs() < 1e-6, "{many}");
    }
}
