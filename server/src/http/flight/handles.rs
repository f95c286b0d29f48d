//! Prepared statements by their handles, each of the one who prepared it: to others it is not there. How many there are, what they hold and how long they stay unused is bounded.

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;
use prost::bytes::Bytes;
use query_sql::Parameter;
use serde_json::json;
use tonic::Status;

use super::super::sql::Request as Asked;
use crate::config::FlightLimits;

/// Bytes of all texts and parameters that are kept.
const HELD_BYTES_MAX: usize = 64 << 20;

/// Those of one owner: others have room left.
const OWN_BYTES_MAX: usize = HELD_BYTES_MAX / 4 * 3;

pub struct Handles {
    limits: FlightLimits,
    held: Mutex<HashMap<Bytes, Handle>>,
}

#[derive(Clone)]
pub struct Handle {
    owner: String,
    /// The statement, with the parameters that were bound last.
    pub asked: Asked,
    used: Instant,
}

impl Handle {
    fn bytes(&self) -> usize {
        let values: usize = self.asked.parameters.iter().map(|of| of.value.as_str().map_or(32, str::len)).sum();
        let context: usize = self.asked.context.values().map(|value| value.as_str().map_or(32, str::len)).sum();
        self.asked.text.len() + context + values
    }
}

impl Handles {
    pub fn new(limits: FlightLimits) -> Handles {
        Handles { limits, held: Mutex::default() }
    }

    /// Forgets what nobody used for a while.
    fn sweep(&self, held: &mut HashMap<Bytes, Handle>) {
        held.retain(|_, handle| handle.used.elapsed() < self.limits.idle);
    }

    pub fn keep(&self, owner: &str, asked: Asked) -> Result<Bytes, Status> {
        let mut held = self.held.lock();
        self.sweep(&mut held);
        let handle = Handle { owner: owner.to_string(), asked, used: Instant::now() };
        let most = self.limits.statements_max;
        let own = held.values().filter(|handle| handle.owner == owner).count();
        if own >= most - most / 4 {
            return Err(Status::resource_exhausted(format!(
                "too many prepared statements of yours: {own} of {most} (setting sql.flight_statements_max); close one"
            )));
        }
        if held.len() >= most {
            return Err(Status::resource_exhausted(format!(
                "too many prepared statements: {most} are open (setting sql.flight_statements_max); close one"
            )));
        }
        full(&held, owner, handle.bytes())?;
        let name = Bytes::from(uuid::Uuid::new_v4().to_string());
        held.insert(name.clone(), handle);
        Ok(name)
    }

    /// The statement as it stands, to be run under an id of its own. Its time starts anew.
    pub fn get(&self, owner: &str, name: &[u8]) -> Result<Handle, Status> {
        let mut held = self.held.lock();
        self.sweep(&mut held);
        let handle = held.get_mut(name).filter(|handle| handle.owner == owner).ok_or_else(missing)?;
        handle.used = Instant::now();
        let mut handle = handle.clone();
        handle.asked.context.insert("sqlQueryId".into(), json!(uuid::Uuid::new_v4().to_string()));
        Ok(handle)
    }

    pub fn bind(&self, owner: &str, name: &[u8], parameters: Vec<Parameter>) -> Result<(), Status> {
        let mut held = self.held.lock();
        self.sweep(&mut held);
        let (name, mut handle) = held.remove_entry(name).ok_or_else(missing)?;
        if handle.owner != owner {
            held.insert(name, handle);
            return Err(missing());
        }
        handle.used = Instant::now();
        let earlier = std::mem::replace(&mut handle.asked.parameters, parameters);
        let fits = full(&held, owner, handle.bytes());
        if fits.is_err() {
            handle.asked.parameters = earlier;
        }
        held.insert(name, handle);
        fits
    }

    pub fn close(&self, owner: &str, name: &[u8]) {
        let mut held = self.held.lock();
        if held.get(name).is_some_and(|handle| handle.owner == owner) {
            held.remove(name);
        }
    }
}

fn missing() -> Status {
    Status::not_found(
        "there is no such prepared statement: closed, or unused for too long (setting sql.flight_idle_ms); prepare it \
         again",
    )
}

/// Refuses so many more bytes of an owner's, beside what is held.
fn full(held: &HashMap<Bytes, Handle>, owner: &str, more: usize) -> Result<(), Status> {
    let own: usize = held.values().filter(|handle| handle.owner == owner).map(Handle::bytes).sum();
    if own + more > OWN_BYTES_MAX {
        return Err(Status::resource_exhausted(format!(
            "prepared statements of yours and their parameters would hold {} bytes, {OWN_BYTES_MAX} at most; close some",
            own + more
        )));
    }
    let bytes = held.values().map(Handle::bytes).sum::<usize>() + more;
    if bytes > HELD_BYTES_MAX {
        return Err(Status::resource_exhausted(format!(
            "prepared statements and their parameters would hold {bytes} bytes, {HELD_BYTES_MAX} at most; close some"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tonic::Code;

    use super::*;

    fn asked(text: &str) -> Asked {
        super::super::statement::asked(text.into(), Default::default())
    }

    #[test]
    fn handles_are_bounded_in_number_bytes_and_time() {
        let handles = Handles::new(FlightLimits { statements_max: 2, idle: Duration::from_secs(60) });
        let first = handles.keep("ann", asked("SELECT 1")).unwrap();
        handles.keep("ann", asked("SELECT 2")).unwrap();
        assert_eq!(handles.keep("ann", asked("SELECT 3")).unwrap_err().code(), Code::ResourceExhausted);
        assert_eq!(handles.get("bob", &first).err().unwrap().code(), Code::NotFound);
        assert_eq!(handles.bind("bob", &first, Vec::new()).unwrap_err().code(), Code::NotFound);
        handles.close("bob", &first);
        let large = |bytes: usize| vec![Parameter { sql_type: "VARCHAR".into(), value: json!("x".repeat(bytes)) }];
        handles.bind("ann", &first, large(8)).unwrap();
        assert_eq!(handles.bind("ann", &first, large(HELD_BYTES_MAX)).unwrap_err().code(), Code::ResourceExhausted);
        assert_eq!(
            handles.get("ann", &first).map(|handle| handle.asked.parameters[0].value.clone()).unwrap(),
            json!("xxxxxxxx")
        );
        handles.close("ann", &first);
        handles.close("ann", &first);
        assert_eq!(handles.get("ann", &first).err().unwrap().code(), Code::NotFound);
        handles.keep("ann", asked("SELECT 3")).unwrap();

        // What one holds of the bytes leaves some to others, however it came to it.
        let handles = Handles::new(FlightLimits { statements_max: 100, idle: Duration::from_secs(60) });
        // A third each, with the 36 characters of the id that each gets.
        let text = "x".repeat(OWN_BYTES_MAX / 3 - 37);
        let held: Vec<_> = (0..3).map(|_| handles.keep("ann", asked(&text)).unwrap()).collect();
        assert_eq!(handles.keep("ann", asked("SELECT 1")).unwrap_err().code(), Code::ResourceExhausted);
        assert_eq!(handles.bind("ann", &held[0], large(8)).unwrap_err().code(), Code::ResourceExhausted);
        let bobs = handles.keep("bob", asked("SELECT 1")).unwrap();
        handles.bind("bob", &bobs, large(1 << 20)).unwrap();
        handles.close("ann", &held[1]);
        handles.bind("ann", &held[0], large(8)).unwrap();
        assert_eq!(handles.bind("bob", &held[0], large(1)).unwrap_err().code(), Code::NotFound);
        assert!(handles.get("ann", &held[0]).is_ok(), "who may not bind takes nothing away");

        let short = Handles::new(FlightLimits { statements_max: 1, idle: Duration::ZERO });
        let name = short.keep("ann", asked("SELECT 1")).unwrap();
        assert_eq!(short.get("ann", &name).err().unwrap().code(), Code::NotFound);
        short.keep("ann", asked("SELECT 1")).unwrap();
    }
}
