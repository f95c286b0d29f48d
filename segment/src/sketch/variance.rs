//! Count, sum and sum of squared distances of numbers: what variances and deviations are made of, folded as they come
//! (Welford) and merged (Chan), in the bytes that Druid keeps.

use super::Reader;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Variance {
    count: i64,
    sum: f64,
    /// Of the squared distances to the mean.
    squares: f64,
}

impl Variance {
    pub fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        if self.count > 1 {
            let n = self.count as f64;
            let distance = n * value - self.sum;
            self.squares += distance * distance / (n * (n - 1.0));
        }
    }

    pub fn merge(&mut self, other: &Variance) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let distance = b / a * self.sum - other.sum;
        self.squares += other.squares + a / (b * (a + b)) * distance * distance;
        self.count += other.count;
        self.sum += other.sum;
    }

    /// Of all there is, or of a sample; `None` if nothing was seen.
    pub fn variance(&self, population: bool) -> Option<f64> {
        match self.count {
            0 => None,
            1 => Some(0.0),
            n if population => Some(self.squares / n as f64),
            n => Some(self.squares / (n - 1) as f64),
        }
    }

    pub fn write(&self) -> Vec<u8> {
        let mut bytes = self.count.to_be_bytes().to_vec();
        bytes.extend(self.sum.to_be_bytes());
        bytes.extend(self.squares.to_be_bytes());
        bytes
    }

    pub fn read(bytes: &[u8]) -> Option<Variance> {
        let mut reader = Reader::new(bytes);
        let (count, sum, squares) = (reader.i64()?, reader.f64()?, reader.f64()?);
        (count >= 0 && reader.left() == 0).then_some(Variance { count, sum, squares })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_give_what_the_whole_gives() {
        let values: Vec<f64> = (0..1000).map(|i| f64::from(i * 7919 % 1000) / 3.0 - 77.0).collect();
        let mean = values.iter().sum::<f64>() / 1000.0;
        let truth = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 1000.0;
        for parts in [1, 2, 7, 1000] {
            let mut whole = Variance::default();
            for part in values.chunks(1000usize.div_ceil(parts)) {
                let mut some = Variance::default();
                part.iter().for_each(|v| some.add(*v));
                whole.merge(&Variance::read(&some.write()).unwrap());
            }
            assert!((whole.variance(true).unwrap() / truth - 1.0).abs() < 1e-9);
            assert!((whole.variance(false).unwrap() / truth - 1000.0 / 999.0).abs() < 1e-9);
        }
        assert_eq!(Variance::default().variance(true), None);
    }
}
