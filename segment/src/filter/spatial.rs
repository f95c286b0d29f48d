//! The bounds of Druid's `spatial` filter: where a point must be, that is kept as the text of its coordinates, `"x,y"`.
//! Coordinates are floats, as Druid's are.

use serde_json::{Value as Json, json};

use crate::error::{Error, Result};
use crate::expr::convert;
use crate::fields::Fields;
use crate::spelling;

/// Metres.
const EARTH_RADIUS: f64 = 6_371_000.0;

const BOUNDS: [&str; 3] = ["rectangular", "radius", "polygon"];

/// Coordinates that a point may have.
const COORDINATES_MAX: usize = 32;

/// Corners of a polygon: each point near it is compared with every edge.
const CORNERS_MAX: usize = 10_000;

#[derive(Debug, Clone, PartialEq)]
pub enum Spatial {
    /// With its edges.
    Rectangle {
        min: Vec<f32>,
        max: Vec<f32>,
    },
    Circle {
        center: Vec<f32>,
        radius: f32,
        unit: Unit,
    },
    /// Of points of two coordinates, with its edges.
    Polygon {
        xs: Vec<f32>,
        ys: Vec<f32>,
        around: Around,
    },
}

/// The least rectangle that holds all corners: most points are outside, and not compared with any edge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Around {
    min: [f32; 2],
    max: [f32; 2],
}

impl Around {
    fn of(xs: &[f32], ys: &[f32]) -> Around {
        let least = |numbers: &[f32]| numbers.iter().copied().fold(f32::INFINITY, f32::min);
        let most = |numbers: &[f32]| numbers.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        Around { min: [least(xs), least(ys)], max: [most(xs), most(ys)] }
    }

    fn holds(&self, x: f32, y: f32) -> bool {
        self.min[0] <= x && x <= self.max[0] && self.min[1] <= y && y <= self.max[1]
    }
}

/// What a radius is measured in: that of the coordinates, or lengths on the Earth between degrees of latitude and longitude.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Euclidean,
    Meters,
    Kilometers,
    Miles,
}

impl Unit {
    const ALL: [Unit; 4] = [Unit::Euclidean, Unit::Meters, Unit::Kilometers, Unit::Miles];

    fn name(self) -> &'static str {
        match self {
            Unit::Euclidean => "euclidean",
            Unit::Meters => "meters",
            Unit::Kilometers => "kilometers",
            Unit::Miles => "miles",
        }
    }

    fn meters(self) -> f64 {
        match self {
            Unit::Euclidean | Unit::Meters => 1.0,
            Unit::Kilometers => 1000.0,
            Unit::Miles => f64::from(1609.344f32),
        }
    }
}

impl Spatial {
    pub(super) fn from_json(json: &Json, path: &str) -> Result<Spatial> {
        let fields = Fields::of(json, path)?;
        let numbers = |name: &str| -> Result<Vec<f32>> {
            let numbers: Option<Vec<f32>> = fields.list(name)?.iter().map(|json| Some(json.as_f64()? as f32)).collect();
            numbers.ok_or_else(|| fields.wrong(name, "must be an array of numbers"))
        };
        let point = |name: &str| -> Result<Vec<f32>> {
            let point = numbers(name)?;
            match (1..=COORDINATES_MAX).contains(&point.len()) {
                true => Ok(point),
                false => Err(fields.wrong(name, &format!("must have 1 to {COORDINATES_MAX} coordinates"))),
            }
        };
        match fields.need_text("type")?.as_str() {
            "rectangular" => {
                let (min, max) = (point("minCoords")?, point("maxCoords")?);
                if min.len() != max.len() {
                    return Err(fields.wrong("maxCoords", "must have as many coordinates as minCoords"));
                }
                Ok(Spatial::Rectangle { min, max })
            }
            "radius" => {
                let center = point("coords")?;
                let radius = fields.need("radius")?.as_f64().filter(|radius| *radius >= 0.0);
                let radius = radius.ok_or_else(|| fields.wrong("radius", "must be a number, 0 or more"))? as f32;
                let unit = match fields.text("radiusUnit")? {
                    None => Unit::Euclidean,
                    Some(name) => Unit::ALL.into_iter().find(|unit| unit.name() == name).ok_or_else(|| {
                        let names = Unit::ALL.map(Unit::name).join(", ");
                        fields.wrong("radiusUnit", &format!("[{name}] must be one of {names}"))
                    })?,
                };
                if unit != Unit::Euclidean && center.len() != 2 {
                    return Err(fields.wrong("coords", "must be latitude and longitude for a radius on the Earth"));
                }
                Ok(Spatial::Circle { center, radius, unit })
            }
            "polygon" => {
                let (xs, ys) = (numbers("abscissa")?, numbers("ordinate")?);
                if xs.len() != ys.len() {
                    return Err(fields.wrong("ordinate", "must have as many numbers as abscissa"));
                }
                if !(3..=CORNERS_MAX).contains(&xs.len()) {
                    return Err(fields.wrong("abscissa", &format!("must have 3 to {CORNERS_MAX} corners")));
                }
                let around = Around::of(&xs, &ys);
                Ok(Spatial::Polygon { xs, ys, around })
            }
            other => Err(Error::invalid(format!(
                "unknown bound [{other}] in {}{}",
                fields.at("type"),
                spelling::hint(other, &BOUNDS)
            ))),
        }
    }

    pub(super) fn to_json(&self) -> Json {
        match self {
            Spatial::Rectangle { min, max } => json!({"type": "rectangular", "minCoords": min, "maxCoords": max}),
            Spatial::Circle { center, radius, unit } => {
                json!({"type": "radius", "coords": center, "radius": radius, "radiusUnit": unit.name()})
            }
            Spatial::Polygon { xs, ys, .. } => json!({"type": "polygon", "abscissa": xs, "ordinate": ys}),
        }
    }

    /// Whether a text is a point within.
    pub(super) fn holds(&self, text: &str) -> bool {
        let mut point = [0f32; COORDINATES_MAX];
        let mut count = 0;
        for part in text.split(',') {
            let (Some(at), Some(number)) = (point.get_mut(count), convert::double_of_text(part)) else { return false };
            *at = number as f32;
            count += 1;
        }
        self.holds_point(&point[..count])
    }

    fn holds_point(&self, point: &[f32]) -> bool {
        match self {
            Spatial::Rectangle { min, max } => {
                point.len() == min.len()
                    && point.iter().zip(min.iter().zip(max)).all(|(p, (min, max))| min <= p && p <= max)
            }
            Spatial::Circle { center, .. } if point.len() != center.len() => false,
            Spatial::Circle { center, radius, unit: Unit::Euclidean } => {
                let far: f64 = point.iter().zip(center).map(|(p, c)| f64::from(p - c).powi(2)).sum();
                far <= f64::from(*radius).powi(2)
            }
            Spatial::Circle { center, radius, unit } => distance(center, point) <= f64::from(*radius) * unit.meters(),
            Spatial::Polygon { xs, ys, around } => {
                point.len() == 2 && around.holds(point[0], point[1]) && within(xs, ys, point[0], point[1])
            }
        }
    }
}

/// Metres between two points on the Earth, each of a latitude and a longitude in degrees.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    let radians = |degrees: f32| f64::from(degrees).to_radians();
    let (lat, other) = (radians(a[0]), radians(b[0]));
    let half = |from: f64, to: f64| ((to - from) / 2.0).sin().powi(2);
    let share = half(lat, other) + lat.cos() * other.cos() * half(radians(a[1]), radians(b[1]));
    2.0 * EARTH_RADIUS * share.sqrt().clamp(0.0, 1.0).asin()
}

/// Whether a point is on an edge, or a line from it to the left meets the edges an odd number of times.
fn within(xs: &[f32], ys: &[f32], x: f32, y: f32) -> bool {
    let mut odd = false;
    let mut last = xs.len() - 1;
    for at in 0..xs.len() {
        let (x1, y1, x2, y2) = (xs[last], ys[last], xs[at], ys[at]);
        last = at;
        if y1 == y2 {
            if y == y1 && x1.min(x2) <= x && x <= x1.max(x2) {
                return true;
            }
            continue;
        }
        if y < y1.min(y2) || y > y1.max(y2) {
            continue;
        }
        let edge = x1 + (y - y1) / (y2 - y1) * (x2 - x1);
        if edge == x {
            return true;
        }
        // The upper end is the next edge's: a corner is met once where the edges go on, and twice or never where they turn.
        if edge < x && y < y1.max(y2) {
            odd = !odd;
        }
    }
    odd
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(json: Json) -> Result<Spatial> {
        Spatial::from_json(&json, "filter.bound")
    }

    #[test]
    fn points_are_within_or_not() {
        let rectangle = json!({"type": "rectangular", "minCoords": [0, 10], "maxCoords": [5, 20]});
        let circle = json!({"type": "radius", "coords": [1, 1], "radius": 5});
        // A U, whose corners stand at the height of points.
        let polygon =
            json!({"type": "polygon", "abscissa": [0, 0, 3, 3, 2, 2, 1, 1], "ordinate": [0, 4, 4, 0, 0, 3, 3, 0]});
        for (json, within, outside) in [
            (
                &rectangle,
                &["0,10", "5,20", "2.5, 15", "2,1.1e1"][..],
                &["-0.1,10", "5,20.1", "2", "2,15,1", "a,b", "", "2,"][..],
            ),
            (&circle, &["1,1", "4,5", "1,-4", "6,1"], &["4.1,5", "7,1", "1", "1,1,1"]),
            (
                &polygon,
                &["0,0", "0.5,3", "2.5,3", "1.5,3.5", "0.5,1", "2,0", "3,2", "1.5,3"],
                &["1.5,1", "1.5,2.9", "4,3", "-1,3", "-1,4", "4,0", "1.5,0"],
            ),
        ] {
            let bound = bound(json.clone()).unwrap();
            within.iter().for_each(|point| assert!(bound.holds(point), "{json} {point}"));
            outside.iter().for_each(|point| assert!(!bound.holds(point), "{json} {point}"));
            assert_eq!(Spatial::from_json(&bound.to_json(), "").unwrap(), bound);
        }
    }

    #[test]
    fn radii_on_the_earth() {
        // Berlin to Hamburg: 255 km.
        for (radius, unit, holds) in [
            (250_000.0, "meters", false),
            (260_000.0, "meters", true),
            (250.0, "kilometers", false),
            (260.0, "kilometers", true),
            (155.0, "miles", false),
            (162.0, "miles", true),
        ] {
            let json = json!({"type": "radius", "coords": [52.52, 13.405], "radius": radius, "radiusUnit": unit});
            assert_eq!(bound(json).unwrap().holds("53.5511,9.9937"), holds, "{radius} {unit}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (json, expected) in [
            (json!({"type": "circle"}), "unknown bound [circle]"),
            (json!({"type": "rectangular", "minCoords": [1], "maxCoords": [1, 2]}), "maxCoords"),
            (json!({"type": "rectangular", "minCoords": [], "maxCoords": []}), "minCoords"),
            (json!({"type": "radius", "coords": [1, 2], "radius": -1}), "radius"),
            (json!({"type": "radius", "coords": [1, 2], "radius": 1, "radiusUnit": "feet"}), "euclidean, meters"),
            (json!({"type": "radius", "coords": [1], "radius": 1, "radiusUnit": "miles"}), "latitude"),
            (json!({"type": "polygon", "abscissa": [1, 2], "ordinate": [1, 2]}), "3 to"),
            (json!({"type": "polygon", "abscissa": [1, 2, "x"], "ordinate": [1, 2, 3]}), "numbers"),
            (json!({"type": "polygon", "abscissa": vec![1; 10_001], "ordinate": vec![1; 10_001]}), "to 10000 corners"),
        ] {
            let error = bound(json.clone()).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("filter.bound"), "{json}: {error}");
        }
    }
}
