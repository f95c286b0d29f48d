//! Functions of IP addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Body, Function, Prepared, Returns, function, literal_text};
use crate::block::Value;
use crate::expr::convert;

pub(super) static FUNCTIONS: &[Function] = &[
    function("ipv4_match", 2, 2, Returns::Long, Body::Prepared(ipv4_match)),
    function("ipv6_match", 2, 2, Returns::Long, Body::Prepared(ipv6_match)),
    function(
        "ipv4_parse",
        1,
        1,
        Returns::Long,
        Body::Scalar(|a| ipv4(&a[0]).map_or(Value::Null, |v| Value::Long(i64::from(v)))),
    ),
    function(
        "ipv4_stringify",
        1,
        1,
        Returns::Text,
        Body::Scalar(|a| ipv4(&a[0]).map_or(Value::Null, |v| Value::text(&Ipv4Addr::from(v).to_string()))),
    ),
];

/// An address as text or as a number.
fn ipv4(value: &Value) -> Option<u32> {
    match value {
        Value::Long(v) => u32::try_from(*v).ok(),
        Value::Text(text) => text.parse::<Ipv4Addr>().ok().map(u32::from),
        _ => None,
    }
}

/// An address and the length of its prefix.
fn subnet(args: &[Option<Value>]) -> Result<(IpAddr, u32), String> {
    let Some(text) = literal_text(args, 1, "the subnet")? else { return Err("the subnet must be a literal".into()) };
    let wrong = || format!("[{text}] is not a subnet such as 192.168.0.0/16");
    let (address, length) = text.split_once('/').map_or((text.as_str(), None), |(a, l)| (a, Some(l)));
    let address: IpAddr = address.parse().map_err(|_| wrong())?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = length.map_or(Ok(most), |l| l.parse().map_err(|_| wrong()))?;
    if length > most { Err(wrong()) } else { Ok((address, length)) }
}

fn ipv4_match(args: &[Option<Value>]) -> Result<Prepared, String> {
    let (IpAddr::V4(network), length) = subnet(args)? else { return Err("the subnet must be one of IPv4".into()) };
    let mask = u32::MAX.checked_shl(32 - length).unwrap_or(0);
    let network = u32::from(network) & mask;
    Ok(Prepared::each(move |args| match &args[0] {
        Value::Null => Value::Null,
        value => Value::Long(i64::from(ipv4(value).is_some_and(|v| v & mask == network))),
    }))
}

fn ipv6_match(args: &[Option<Value>]) -> Result<Prepared, String> {
    let (IpAddr::V6(network), length) = subnet(args)? else { return Err("the subnet must be one of IPv6".into()) };
    let mask = u128::MAX.checked_shl(128 - length).unwrap_or(0);
    let network = u128::from(network) & mask;
    Ok(Prepared::each(move |args| match convert::to_text(&args[0]) {
        None => Value::Null,
        Some(text) => {
            let address = text.parse::<Ipv6Addr>().ok().map(u128::from);
            Value::Long(i64::from(address.is_some_and(|v| v & mask == network)))
        }
    }))
}
