//! How rows fold into the sketches of [`crate::sketch`].

use std::sync::Arc;

use datasketches::tdigest::TDigestMut;

use super::states::{State, States};
use super::{Accumulator, Values};
use crate::aggregate::sketch::{Sketch, SketchKind};
use crate::block::Value;
use crate::sketch::bloom::Bloom;
use crate::sketch::breaks::Breaks;
use crate::sketch::cpc::{self, Cpc};
use crate::sketch::fixed_histogram::{self, FixedHistogram};
use crate::sketch::frequent::{self, Frequent};
use crate::sketch::hash::Key;
use crate::sketch::histogram::Histogram;
use crate::sketch::theta::Theta;
use crate::sketch::tuple::Tuple;
use crate::sketch::variance::Variance;
use crate::sketch::{bytes_of, tdigest, theta, tuple};

pub fn new(sketch: &Sketch) -> Box<dyn Accumulator> {
    match &sketch.kind {
        SketchKind::Theta { size, of_sketches, deviations } => Box::new(States::<Theta>::new(ThetaSettings {
            lg_k: theta::lg_of(*size),
            of_sketches: *of_sketches,
            deviations: *deviations,
        })),
        SketchKind::Tuple { size, values } => Box::new(States::<Tuple>::new((theta::lg_of(*size), *values))),
        SketchKind::Variance { population } => Box::new(States::<Variance>::new(*population)),
        SketchKind::TDigest { compression } => Box::new(States::<Digest>::new(*compression)),
        SketchKind::Histogram { size, buckets, .. } => {
            Box::new(States::<Histogram>::new(Picture { size: *size, buckets: *buckets, base64: sketch.as_bytes() }))
        }
        SketchKind::FixedHistogram { settings, .. } => {
            Box::new(States::<FixedHistogram>::new((*settings, sketch.as_bytes())))
        }
        SketchKind::Breaks { breaks } => Box::new(States::<Breaks>::new(breaks.clone())),
        SketchKind::Bloom { entries } => Box::new(States::<Bloom>::new(*entries)),
        SketchKind::Cpc { lg_k, of_sketches, round } => {
            Box::new(States::<Cpc>::new(CpcSettings { lg_k: *lg_k, of_sketches: *of_sketches, round: *round }))
        }
        SketchKind::Frequent { map, limit } => Box::new(States::<Items>::new((*map, *limit))),
    }
}

/// Says that bytes are no state of the aggregate.
pub(super) fn no(what: &str, bytes: &[u8]) -> String {
    format!("[{}] bytes are no {what}; the column holds something else, or is damaged", bytes.len())
}

#[derive(Clone, Copy)]
pub(super) struct ThetaSettings {
    lg_k: u8,
    of_sketches: bool,
    deviations: Option<u8>,
}

impl State for Theta {
    type Settings = ThetaSettings;

    fn new(settings: &ThetaSettings) -> Theta {
        Theta::new(settings.lg_k)
    }

    fn put(&mut self, settings: &ThetaSettings, inputs: &[Values<'_>], row: usize) {
        match &inputs[0] {
            Values::Longs { .. } => self.update_some(inputs[0].long(row).map(Key::Long)),
            Values::Doubles { .. } => self.update_some(inputs[0].double(row).map(Key::Double)),
            values => {
                let value = values.value(row);
                if settings.of_sketches
                    && let Some(sketch) = bytes_of(&value).and_then(|bytes| theta::read(&bytes))
                {
                    self.merge(&sketch);
                } else if !settings.of_sketches {
                    self.update_some(Key::of(&value));
                }
            }
        }
    }

    fn merge(&mut self, _: &ThetaSettings, other: &Theta) -> Result<(), String> {
        self.absorb(other);
        Ok(())
    }

    fn read(settings: &ThetaSettings, bytes: &[u8]) -> Result<Theta, String> {
        let mut state = Theta::new(settings.lg_k);
        state.merge(&theta::read(bytes).ok_or_else(|| no("theta sketch", bytes))?);
        Ok(state)
    }

    fn write(&self, _: &ThetaSettings) -> Vec<u8> {
        theta::write(&self.result())
    }

    fn finish(&self, settings: &ThetaSettings) -> Value {
        let sketch = self.result();
        match settings.deviations {
            None => Value::Double(sketch.estimate()),
            Some(count) => {
                theta::with_bounds(&sketch, i64::from(count)).map_or(Value::Null, |text| Value::Json(text.into()))
            }
        }
    }

    fn size(&self) -> usize {
        self.size_bytes()
    }
}

impl Theta {
    fn update_some(&mut self, key: Option<Key<'_>>) {
        if let Some(key) = key {
            self.update(key);
        }
    }
}

impl State for Tuple {
    /// The size's logarithm and how many values a key carries.
    type Settings = (u8, usize);

    fn new((lg_k, values): &(u8, usize)) -> Tuple {
        Tuple::new(*lg_k, *values)
    }

    fn put(&mut self, (_, values): &(u8, usize), inputs: &[Values<'_>], row: usize) {
        let key = inputs[0].value(row);
        let Some((_, columns)) = inputs.split_first().filter(|(_, columns)| !columns.is_empty()) else {
            match bytes_of(&key).and_then(|bytes| tuple::read(&bytes)) {
                Some((sketch, count)) if count == *values => self.merge(&sketch),
                Some((_, count)) => self.refused = Some(count),
                None => {}
            }
            return;
        };
        let numbers: Option<Vec<f64>> = columns.iter().map(|column| column.double(row)).collect();
        if let (Some(text), Some(numbers)) = (inputs[0].text(row).filter(|text| !text.is_empty()), numbers) {
            self.update(Key::Text(&text), &numbers);
        }
    }

    fn merge(&mut self, _: &(u8, usize), other: &Tuple) -> Result<(), String> {
        self.absorb(other);
        Ok(())
    }

    fn read((lg_k, values): &(u8, usize), bytes: &[u8]) -> Result<Tuple, String> {
        let (sketch, count) = tuple::read(bytes).ok_or_else(|| no("tuple sketch", bytes))?;
        if count != *values {
            return Err(other_values(count, *values));
        }
        let mut state = Tuple::new(*lg_k, *values);
        state.merge(&sketch);
        Ok(state)
    }

    fn write(&self, (_, values): &(u8, usize)) -> Vec<u8> {
        tuple::write(&self.result(), *values)
    }

    fn finish(&self, _: &(u8, usize)) -> Value {
        Value::Double(self.result().estimate())
    }

    fn size(&self) -> usize {
        self.size_bytes()
    }

    fn unwritten(&self) -> Option<String> {
        State::complaint(self)
    }

    fn complaint(&self) -> Option<String> {
        self.refused.map(|count| other_values(count, self.values()))
    }
}

fn other_values(count: usize, values: usize) -> String {
    format!("a sketch whose keys carry [{count}] values cannot be merged into one of [{values}]; set numberOfValues")
}

impl State for Variance {
    /// Whether the variance is that of all there is.
    type Settings = bool;

    fn new(_: &bool) -> Variance {
        Variance::default()
    }

    fn put(&mut self, _: &bool, inputs: &[Values<'_>], row: usize) {
        if let Some(value) = inputs[0].double(row) {
            self.add(value);
        }
    }

    fn merge(&mut self, _: &bool, other: &Variance) -> Result<(), String> {
        Variance::merge(self, other);
        Ok(())
    }

    fn read(_: &bool, bytes: &[u8]) -> Result<Variance, String> {
        Variance::read(bytes).ok_or_else(|| no("variance", bytes))
    }

    fn write(&self, _: &bool) -> Vec<u8> {
        Variance::write(self)
    }

    fn finish(&self, population: &bool) -> Value {
        self.variance(*population).map_or(Value::Null, Value::Double)
    }

    fn size(&self) -> usize {
        size_of::<Variance>()
    }
}

pub(super) struct Digest(TDigestMut);

impl State for Digest {
    /// The compression.
    type Settings = u16;

    fn new(compression: &u16) -> Digest {
        Digest(tdigest::new(*compression))
    }

    fn put(&mut self, _: &u16, inputs: &[Values<'_>], row: usize) {
        if let Some(value) = inputs[0].double(row).filter(|value| !value.is_nan()) {
            self.0.update(value);
        } else if let Some(digest) = bytes_of(&inputs[0].value(row)).and_then(|bytes| tdigest::read(&bytes)) {
            self.0.merge(&digest);
        }
    }

    fn merge(&mut self, _: &u16, other: &Digest) -> Result<(), String> {
        self.0.merge(&other.0);
        Ok(())
    }

    fn read(_: &u16, bytes: &[u8]) -> Result<Digest, String> {
        tdigest::read(bytes).map(Digest).ok_or_else(|| no("t-digest", bytes))
    }

    fn write(&self, _: &u16) -> Vec<u8> {
        self.0.clone().serialize()
    }

    fn finish(&self, compression: &u16) -> Value {
        Value::Bytes(self.write(compression).into())
    }

    fn size(&self) -> usize {
        self.0.estimated_size()
    }
}

#[derive(Clone, Copy)]
pub(super) struct Picture {
    size: usize,
    buckets: usize,
    base64: bool,
}

impl State for Histogram {
    type Settings = Picture;

    fn new(settings: &Picture) -> Histogram {
        Histogram::new(settings.size)
    }

    fn put(&mut self, _: &Picture, inputs: &[Values<'_>], row: usize) {
        match inputs[0].double(row) {
            Some(value) => self.add(value as f32),
            None => {
                if let Some(other) = bytes_of(&inputs[0].value(row)).and_then(|bytes| Histogram::read(&bytes)) {
                    Histogram::merge(self, &other);
                }
            }
        }
    }

    fn merge(&mut self, _: &Picture, other: &Histogram) -> Result<(), String> {
        Histogram::merge(self, other);
        Ok(())
    }

    fn read(_: &Picture, bytes: &[u8]) -> Result<Histogram, String> {
        Histogram::read(bytes).ok_or_else(|| no("approximate histogram", bytes))
    }

    fn write(&self, _: &Picture) -> Vec<u8> {
        Histogram::write(self)
    }

    fn finish(&self, settings: &Picture) -> Value {
        if settings.base64 {
            return Value::Bytes(Histogram::write(self).into());
        }
        let picture = self.picture(&self.equal_breaks(settings.buckets));
        Value::Json(Arc::from(picture.to_string()))
    }

    fn size(&self) -> usize {
        self.size_bytes()
    }
}

impl State for Breaks {
    type Settings = Arc<[f32]>;

    fn new(breaks: &Self::Settings) -> Breaks {
        Breaks::new(breaks)
    }

    fn put(&mut self, breaks: &Self::Settings, inputs: &[Values<'_>], row: usize) {
        if let Some(value) = inputs[0].double(row) {
            self.add(breaks, value as f32);
        }
    }

    fn merge(&mut self, _: &Self::Settings, other: &Breaks) -> Result<(), String> {
        let (own, others) = (self.bins(), other.bins());
        match Breaks::merge(self, other) {
            true => Ok(()),
            false => Err(format!("a histogram of [{}] breaks cannot be merged with one of [{}]", own - 1, others - 1)),
        }
    }

    fn read(breaks: &Self::Settings, bytes: &[u8]) -> Result<Breaks, String> {
        let read = Breaks::read(bytes).filter(|read| read.bins() == breaks.len() + 1);
        read.ok_or_else(|| no("histogram of these breaks", bytes))
    }

    fn write(&self, _: &Self::Settings) -> Vec<u8> {
        Breaks::write(self)
    }

    fn finish(&self, breaks: &Self::Settings) -> Value {
        Value::Json(Arc::from(self.shown(breaks).to_string()))
    }

    fn size(&self) -> usize {
        self.size_bytes()
    }
}

impl State for FixedHistogram {
    /// With whether it finishes as bytes.
    type Settings = (fixed_histogram::Settings, bool);

    fn new((settings, _): &Self::Settings) -> FixedHistogram {
        FixedHistogram::new(*settings)
    }

    fn put(&mut self, _: &Self::Settings, inputs: &[Values<'_>], row: usize) {
        let number = inputs[0].double(row);
        if number.is_none()
            && let Some(other) = bytes_of(&inputs[0].value(row)).and_then(|bytes| FixedHistogram::read(&bytes))
        {
            return FixedHistogram::merge(self, &other);
        }
        self.add(number);
    }

    fn merge(&mut self, _: &Self::Settings, other: &FixedHistogram) -> Result<(), String> {
        FixedHistogram::merge(self, other);
        Ok(())
    }

    fn read(_: &Self::Settings, bytes: &[u8]) -> Result<FixedHistogram, String> {
        FixedHistogram::read(bytes).ok_or_else(|| no("fixed buckets histogram", bytes))
    }

    fn write(&self, _: &Self::Settings) -> Vec<u8> {
        FixedHistogram::write(self)
    }

    fn finish(&self, (_, base64): &Self::Settings) -> Value {
        if *base64 { Value::Bytes(FixedHistogram::write(self).into()) } else { Value::text(&self.describe()) }
    }

    fn size(&self) -> usize {
        self.size_bytes()
    }
}

impl State for Bloom {
    /// How many values it is made for.
    type Settings = i64;

    fn new(entries: &i64) -> Bloom {
        Bloom::new(*entries)
    }

    fn put(&mut self, _: &i64, inputs: &[Values<'_>], row: usize) {
        self.add(&inputs[0].value(row));
    }

    fn merge(&mut self, _: &i64, other: &Bloom) -> Result<(), String> {
        if Bloom::merge(self, other) {
            return Ok(());
        }
        Err(format!(
            "a Bloom filter of [{}] bytes cannot be merged into one of [{}]; set maxNumEntries to what it was made for",
            other.bits_bytes(),
            self.bits_bytes()
        ))
    }

    fn read(_: &i64, bytes: &[u8]) -> Result<Bloom, String> {
        Bloom::read(bytes).ok_or_else(|| no("Bloom filter", bytes))
    }

    fn write(&self, _: &i64) -> Vec<u8> {
        Bloom::write(self)
    }

    fn finish(&self, _: &i64) -> Value {
        Value::Bytes(Bloom::write(self).into())
    }

    fn size(&self) -> usize {
        self.size_bytes()
    }
}

#[derive(Clone, Copy)]
pub(super) struct CpcSettings {
    lg_k: u8,
    of_sketches: bool,
    round: bool,
}

impl State for Cpc {
    type Settings = CpcSettings;

    fn new(settings: &CpcSettings) -> Cpc {
        Cpc::new(settings.lg_k)
    }

    fn put(&mut self, settings: &CpcSettings, inputs: &[Values<'_>], row: usize) {
        let key = match &inputs[0] {
            Values::Longs { .. } => inputs[0].long(row).map(Key::Long),
            Values::Doubles { .. } => inputs[0].double(row).map(Key::Double),
            values => {
                let value = values.value(row);
                if settings.of_sketches {
                    if let Some(sketch) = bytes_of(&value).and_then(|bytes| cpc::read(&bytes)) {
                        Cpc::merge(self, &sketch);
                    }
                } else if let Some(key) = Key::of(&value) {
                    self.update(key);
                }
                return;
            }
        };
        if let Some(key) = key {
            self.update(key);
        }
    }

    fn merge(&mut self, _: &CpcSettings, other: &Cpc) -> Result<(), String> {
        self.absorb(other);
        Ok(())
    }

    fn read(settings: &CpcSettings, bytes: &[u8]) -> Result<Cpc, String> {
        let mut state = Cpc::new(settings.lg_k);
        Cpc::merge(&mut state, &cpc::read(bytes).ok_or_else(|| no("CPC sketch", bytes))?);
        Ok(state)
    }

    fn write(&self, _: &CpcSettings) -> Vec<u8> {
        self.result().serialize()
    }

    fn finish(&self, settings: &CpcSettings) -> Value {
        let estimate = self.result().estimate();
        if settings.round { Value::Long(estimate.round() as i64) } else { Value::Double(estimate) }
    }

    fn size(&self) -> usize {
        self.size_bytes()
    }
}

/// Frequent items and what their texts take, which the library does not tell.
struct Items {
    sketch: Frequent,
    text_bytes: usize,
}

impl Items {
    fn of(sketch: Frequent) -> Items {
        Items { text_bytes: frequent::text_bytes(&sketch), sketch }
    }
}

impl State for Items {
    /// The size of its map, and how many items it tells.
    type Settings = (u32, usize);

    fn new((map, _): &(u32, usize)) -> Items {
        Items { sketch: frequent::new(*map), text_bytes: 0 }
    }

    fn put(&mut self, _: &(u32, usize), inputs: &[Values<'_>], row: usize) {
        let Some(text) = inputs[0].text(row) else { return };
        let before = self.sketch.num_active_items();
        self.sketch.update_ref(&*text);
        match self.sketch.num_active_items() {
            after if after > before => self.text_bytes += text.len(),
            // The rarest went to make room.
            after if after < before => self.text_bytes = frequent::text_bytes(&self.sketch),
            _ => {}
        }
    }

    fn merge(&mut self, _: &(u32, usize), other: &Items) -> Result<(), String> {
        // The library panics past it, and bytes may say anything.
        if self.sketch.total_weight().checked_add(other.sketch.total_weight()).is_none() {
            return Err("sketches of frequent items count more than 2^64 values together".to_string());
        }
        self.sketch.merge(&other.sketch);
        self.text_bytes = frequent::text_bytes(&self.sketch);
        Ok(())
    }

    fn read(_: &(u32, usize), bytes: &[u8]) -> Result<Items, String> {
        frequent::read(bytes).map(Items::of).ok_or_else(|| no("sketch of frequent items", bytes))
    }

    fn write(&self, _: &(u32, usize)) -> Vec<u8> {
        self.sketch.serialize()
    }

    fn finish(&self, (_, limit): &(u32, usize)) -> Value {
        Value::Json(frequent::items(&self.sketch, *limit).to_string().into())
    }

    fn size(&self) -> usize {
        self.sketch.estimated_size() + self.text_bytes
    }
}
