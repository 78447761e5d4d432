//! Expressions and statements of the JSON form in the text form's syntax (`src/json.c` of nftables writes them).

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// Values inside each other beyond this are nothing that nft prints.
const MAX_DEPTH: u32 = 40;

/// A rule as far as it has been written.
#[derive(Default)]
pub(super) struct Written {
    pub text: String,
}

/// A name as it stands in the text form: it must not hold what would end a word there.
pub(super) fn word(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let plain = |char: char| !char.is_whitespace() && !char.is_control() && !"{}(),;\"=!<>&|^#".contains(char);
    (!text.is_empty() && text.chars().all(plain)).then_some(text)
}

/// A name in quotes.
pub(super) fn quoted(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    (!text.contains(['"', '\n', '\r'])).then(|| format!("\"{text}\""))
}

impl Written {
    pub fn push(&mut self, words: &str) {
        if !self.text.is_empty() && !words.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(words);
    }

    /// Writes one statement. `None` where it is none that nft prints.
    pub fn statement(&mut self, statement: &Value) -> Option<()> {
        if let Value::String(text) = statement {
            // What has no JSON form is printed as text, an anonymous chain for example.
            match bound_chain(text) {
                Some(chain) => self.push(&chain),
                None => text.split_ascii_whitespace().for_each(|word| self.push(word)),
            }
            return Some(());
        }
        let (kind, body) = statement.as_object()?.iter().next()?;
        let words = written(kind, body)?;
        self.push(&words);
        Some(())
    }
}

/// A chain that stands in a rule, its lines joined by semicolons.
fn bound_chain(text: &str) -> Option<String> {
    let (before, rest) = text.split_once('{')?;
    let (inner, _) = rest.rsplit_once('}')?;
    let rules: Vec<&str> = inner.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    Some(format!("{} {{ {} }}", before.trim(), rules.join("; ")))
}

fn written(kind: &str, body: &Value) -> Option<String> {
    Some(match kind {
        "accept" | "drop" | "continue" | "return" | "notrack" => kind.to_owned(),
        "jump" | "goto" => format!("{kind} {}", word(body.get("target")?)?),
        "match" => condition(body)?,
        "vmap" => {
            let (key, data) = (expression(body.get("key")?, 0)?, expression(body.get("data")?, 0)?);
            format!("{key} vmap {data}")
        }
        "mangle" => {
            let (key, value) = (expression(body.get("key")?, 0)?, expression(body.get("value")?, 0)?);
            format!("{key} set {value}")
        }
        "counter" | "quota" | "limit" | "ct helper" | "ct timeout" | "ct expectation" | "last" => {
            object_use(kind, body)?
        }
        "ct count" => {
            let over = if is_true(body.get("inv")) { "over " } else { "" };
            format!("ct count {over}{}", body.get("val")?.as_u64()?)
        }
        "log" => "log".to_owned(),
        "reject" => reject(body)?,
        "dnat" | "snat" | "masquerade" | "redirect" => nat(kind, body)?,
        "set" | "map" => dynset(kind, body)?,
        "meter" => meter(body)?,
        "queue" => {
            let bypass = body.get("flags").is_some_and(|flags| flags.to_string().contains("bypass"));
            format!("queue{}", if bypass { " flags bypass" } else { "" })
        }
        "fwd" | "dup" => sends(kind, body)?,
        "tproxy" => tproxy(body)?,
        "synproxy" => synproxy(body)?,
        "reset" => format!("reset {}", expression(body, 0)?),
        "xt" => match (body.get("type").and_then(word), body.get("name").and_then(word)) {
            (Some(kind), Some(name)) => format!("xt {kind} {name}"),
            _ => format!("xt {}", opaque(body)),
        },
        "flow" => format!("flow add {}", word(body.get("flowtable")?)?),
        _ => return None,
    })
}

/// `dup to 192.0.2.9 device "eth0"`. A name of a device stands in quotes.
fn sends(kind: &str, body: &Value) -> Option<String> {
    let value = |value: &Value| quoted(value).filter(|_| !is_address(value)).or_else(|| expression(value, 0));
    let family = body.get("family").and_then(word).map_or(String::new(), |family| format!(" {family}"));
    Some(match (body.get("addr"), body.get("dev")) {
        (Some(addr), Some(dev)) => format!("{kind}{family} to {} device {}", value(addr)?, value(dev)?),
        (Some(to), None) | (None, Some(to)) => format!("{kind}{family} to {}", value(to)?),
        (None, None) => return None,
    })
}

fn is_address(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok())
}

fn tproxy(body: &Value) -> Option<String> {
    let family = body.get("family").and_then(word).map_or(String::new(), |family| format!(" {family}"));
    let addr = body.get("addr").map_or(Some(String::new()), |addr| expression(addr, 0))?;
    let addr = if addr.contains(':') && !addr.contains(' ') { format!("[{addr}]") } else { addr };
    let gap = if addr.contains(' ') { " " } else { "" };
    let port = body.get("port").map_or(Some(String::new()), |port| Some(format!("{gap}:{}", expression(port, 0)?)))?;
    Some(format!("tproxy{family} to {addr}{port}"))
}

fn synproxy(body: &Value) -> Option<String> {
    if body.is_string() || body.get("map").is_some() {
        return object_use("synproxy", body);
    }
    Some(format!("synproxy{}", offered(body)?))
}

/// What `synproxy` offers, each behind a blank.
fn offered(body: &Value) -> Option<String> {
    let mut text = String::new();
    for key in ["mss", "wscale"] {
        if let Some(number) = number(body, key) {
            write!(text, " {key} {number}").ok()?;
        }
    }
    for flag in body.get("flags").and_then(Value::as_array).unwrap_or(&Vec::new()) {
        write!(text, " {}", word(flag)?).ok()?;
    }
    Some(text)
}

/// What isn't modelled, as words that are no syntax.
fn opaque(body: &Value) -> String {
    body.to_string().replace(['{', '}', '"', '\n', ';', '#'], " ").trim().to_owned()
}

fn is_true(value: Option<&Value>) -> bool {
    value.and_then(Value::as_bool).unwrap_or(false)
}

fn condition(body: &Value) -> Option<String> {
    let left = expression(body.get("left")?, 0)?;
    let right = expression(body.get("right")?, 0)?;
    let op = match body.get("op")?.as_str()? {
        // Some bits: the text form has no word for it.
        "in" => "",
        // `fib … oif exists`: no operator stands before it.
        "==" if body.get("right").is_some_and(Value::is_boolean) => "",
        op @ ("==" | "!=" | "<" | ">" | "<=" | ">=" | "!") => op,
        _ => return None,
    };
    Some(if op.is_empty() { format!("{left} {right}") } else { format!("{left} {op} {right}") })
}

/// An expression. What is nested without end is none.
fn expression(value: &Value, depth: u32) -> Option<String> {
    if depth > MAX_DEPTH {
        return None;
    }
    match value {
        Value::Bool(exists) => Some(if *exists { "exists" } else { "missing" }.to_owned()),
        Value::Number(_) => word(value),
        Value::String(text) => {
            if let Some(text) = text.strip_suffix(" [invalid type]") {
                return word(&Value::from(text));
            }
            let is_name = |char: char| char.is_ascii_alphanumeric() || "@._:/-*".contains(char);
            if text.chars().all(is_name) && !text.ends_with('*') || text == "*" { word(value) } else { quoted(value) }
        }
        Value::Array(flags) => {
            let flags: Option<Vec<String>> = flags.iter().map(|flag| expression(flag, depth + 1)).collect();
            Some(flags?.join(","))
        }
        Value::Object(fields) => {
            let (kind, body) = fields.iter().next()?;
            keyed(kind, body, depth)
        }
        Value::Null => None,
    }
}

fn keyed(kind: &str, body: &Value, depth: u32) -> Option<String> {
    let inner = |value: &Value| expression(value, depth + 1);
    Some(match kind {
        "payload" => match body.get("base") {
            Some(base) => {
                let number = |key| body.get(key).and_then(Value::as_u64);
                format!("@{},{},{}", word(base)?, number("offset")?, number("len")?)
            }
            None => payload(body)?,
        },
        "ipsec" => ipsec(body)?,
        "meta" => format!("meta {}", word(body.get("key")?)?),
        "ct" => ct(body)?,
        "rt" | "socket" => {
            let family = body.get("family").and_then(word).map_or(String::new(), |family| format!("{family} "));
            format!("{kind} {family}{}", word(body.get("key")?)?)
        }
        "osf" => {
            let ttl = body.get("ttl").and_then(word).map_or(String::new(), |ttl| format!("ttl {ttl} "));
            format!("osf {ttl}{}", word(body.get("key")?)?)
        }
        "fib" => {
            let flags = body.get("flags")?;
            let flags: Vec<String> = match flags {
                Value::Array(flags) => flags.iter().map(word).collect::<Option<_>>()?,
                flag => vec![word(flag)?],
            };
            format!("fib {} {}", flags.join(" . "), word(body.get("result")?)?)
        }
        "numgen" => format!("numgen {} {}", word(body.get("mode")?)?, modulus(body)?),
        "symhash" => format!("symhash {}", modulus(body)?),
        "jhash" => {
            let seed = body.get("seed").and_then(Value::as_u64).map_or(String::new(), |seed| format!(" seed {seed}"));
            let offset = number(body, "offset").filter(|offset| *offset != 0);
            let offset = offset.map_or(String::new(), |offset| format!(" offset {offset}"));
            format!("jhash {} mod {}{seed}{offset}", inner(body.get("expr")?)?, number(body, "mod")?)
        }
        "exthdr" | "tcp option" | "ip option" | "sctp chunk" | "dccp option" => option(kind, body)?,
        "&" | "|" | "^" | "<<" | ">>" => binary(kind, body, depth)?,
        "concat" => list(body, depth)?.join(" . "),
        "map" => format!("{} map {}", inner(body.get("key")?)?, inner(body.get("data")?)?),
        "prefix" => format!("{}/{}", inner(body.get("addr")?)?, number(body, "len")?),
        "range" => {
            let ends = list(body, depth)?;
            let [low, high] = ends.as_slice() else { return None };
            format!("{low}-{high}")
        }
        "set" => format!("{{ {} }}", elements(body, depth)?),
        "elem" => element(body, depth)?,
        "accept" | "drop" | "continue" | "return" => kind.to_owned(),
        "jump" | "goto" => format!("{kind} {}", word(body.get("target")?)?),
        _ => return None,
    })
}

fn number(body: &Value, key: &str) -> Option<u64> {
    body.get(key).and_then(Value::as_u64)
}

fn modulus(body: &Value) -> Option<String> {
    let offset = number(body, "offset").unwrap_or(0);
    Some(format!("mod {} offset {offset}", number(body, "mod")?))
}

fn list(body: &Value, depth: u32) -> Option<Vec<String>> {
    body.as_array()?.iter().map(|value| expression(value, depth + 1)).collect()
}

fn ct(body: &Value) -> Option<String> {
    let dir = body.get("dir").and_then(word).map_or(String::new(), |dir| format!("{dir} "));
    let key = body.get("key")?.as_str()?;
    let words: Option<Vec<String>> = key.split(' ').map(|key| word(&Value::from(key))).collect();
    Some(format!("ct {dir}{}", words?.join(" ")))
}

/// A field of a header, or of what a tunnel carries, or of the tunnel's own header.
fn payload(body: &Value) -> Option<String> {
    let field = body.get("field")?.as_str()?;
    // ARP's `saddr ip` has two words.
    let mut words: Vec<String> = field.split(' ').map(|one| word(&Value::from(one))).collect::<Option<_>>()?;
    if let Some(protocol) = body.get("protocol") {
        words.insert(0, word(protocol)?);
    }
    if let Some(tunnel) = body.get("tunnel") {
        words.insert(0, word(tunnel)?);
    }
    (words.len() > 1).then(|| words.join(" "))
}

/// `ipsec in ip saddr`, `ipsec out spnum 1 reqid`.
fn ipsec(body: &Value) -> Option<String> {
    let place = number(body, "spnum").filter(|place| *place > 0);
    let place = place.map_or(String::new(), |place| format!(" spnum {place}"));
    let family = body.get("family").and_then(word).map_or(String::new(), |family| format!(" {family}"));
    Some(format!("ipsec {}{place}{family} {}", word(body.get("dir")?)?, word(body.get("key")?)?))
}

fn option(kind: &str, body: &Value) -> Option<String> {
    if let Some(base) = number(body, "base") {
        return Some(format!("{kind} @{base},{},{}", number(body, "offset")?, number(body, "len")?));
    }
    let name = body.get("name").or_else(|| body.get("type")).and_then(word)?;
    let field = body.get("field").and_then(word).map_or(String::new(), |field| format!(" {field}"));
    Some(match (kind, name.as_str()) {
        ("exthdr", "frag" | "hbh" | "dst" | "mh" | "srh" | "rt") if !field.is_empty() => format!("{name}{field}"),
        _ => format!("{kind} {name}{field}"),
    })
}

/// `a & b`: what is nested stands in parentheses.
fn binary(op: &str, body: &Value, depth: u32) -> Option<String> {
    let side = |value: &Value| {
        let text = expression(value, depth + 1)?;
        let nested = value.as_object().is_some_and(|fields| {
            fields.keys().next().is_some_and(|key| matches!(key.as_str(), "&" | "|" | "^" | "<<" | ">>"))
        });
        Some(if nested || value.is_array() { format!("({text})") } else { text })
    };
    let sides: Option<Vec<String>> = body.as_array()?.iter().map(side).collect();
    Some(sides?.join(&format!(" {op} ")))
}

/// The elements of a set, or of a map: pairs.
fn elements(body: &Value, depth: u32) -> Option<String> {
    let one = |value: &Value| match value {
        Value::Array(pair) => {
            let [key, data] = pair.as_slice() else { return None };
            Some(format!("{} : {}", expression(key, depth + 1)?, expression(data, depth + 1)?))
        }
        other => expression(other, depth + 1),
    };
    let all: Option<Vec<String>> = match body {
        Value::Array(values) => values.iter().map(one).collect(),
        single => Some(vec![one(single)?]),
    };
    Some(all?.join(", "))
}

/// An element with what stands behind its key.
fn element(body: &Value, depth: u32) -> Option<String> {
    let mut text = expression(body.get("val")?, depth + 1)?;
    for key in ["timeout", "expires"] {
        if let Some(seconds) = number(body, key) {
            write!(text, " {key} {seconds}s").ok()?;
        }
    }
    if let Some(object) = body.as_object() {
        for kind in ["counter", "limit", "quota", "last", "ct count"] {
            if let Some(value) = object.get(kind) {
                write!(text, " {}", object_use(kind, value).or_else(|| written(kind, value))?).ok()?;
            }
        }
    }
    if let Some(comment) = body.get("comment") {
        write!(text, " comment {}", quoted(comment)?).ok()?;
    }
    Some(text)
}

/// A counter, a limit and so on: its name, or what it holds.
fn object_use(kind: &str, body: &Value) -> Option<String> {
    let setter = kind.starts_with("ct ");
    Some(match body {
        Value::String(_) if setter => format!("{kind} set {}", quoted(body)?),
        Value::Object(fields) if fields.contains_key("map") && setter => format!("{kind} set {}", expression(body, 0)?),
        Value::String(_) => format!("{kind} name {}", quoted(body)?),
        Value::Object(fields) if fields.contains_key("map") => format!("{kind} name {}", expression(body, 0)?),
        Value::Null => kind.to_owned(),
        Value::Object(fields) => unnamed(kind, fields)?,
        _ => return None,
    })
}

fn unnamed(kind: &str, fields: &Map<String, Value>) -> Option<String> {
    let number = |key: &str| fields.get(key).and_then(Value::as_u64);
    let over = if is_true(fields.get("inv")) { "over " } else { "" };
    let unit = |key: &str| fields.get(key).and_then(word).unwrap_or_else(|| "bytes".to_owned());
    Some(match kind {
        "counter" => {
            format!("counter packets {} bytes {}", number("packets").unwrap_or(0), number("bytes").unwrap_or(0))
        }
        "quota" => {
            let used = number("used").filter(|used| *used > 0);
            let used = used.map_or(String::new(), |used| format!(" used {used} {}", unit("used_unit")));
            format!("quota {over}{} {}{used}", number("val")?, unit("val_unit"))
        }
        "limit" => {
            let per = fields.get("per").and_then(word)?;
            let rate = match fields.get("rate_unit") {
                Some(unit) if unit != "packets" => format!("{} {}/{per}", number("rate")?, word(unit)?),
                _ => format!("{}/{per}", number("rate")?),
            };
            // The text form leaves the usual burst out.
            let bytes = fields.get("rate_unit").is_some_and(|unit| unit != "packets");
            let burst = match number("burst") {
                Some(burst) if !bytes && burst != 5 => format!(" burst {burst} packets"),
                Some(burst) if bytes && burst != 0 => format!(" burst {burst} {}", unit("burst_unit")),
                _ => String::new(),
            };
            format!("limit rate {over}{rate}{burst}")
        }
        "last" => "last".to_owned(),
        _ => return None,
    })
}

fn reject(body: &Value) -> Option<String> {
    let Some(kind) = body.get("type").and_then(Value::as_str) else { return Some("reject".to_owned()) };
    match (kind, body.get("expr")) {
        ("tcp reset", _) => Some("reject with tcp reset".to_owned()),
        ("icmp" | "icmpv6" | "icmpx", Some(code)) => Some(format!("reject with {kind} {}", word(code)?)),
        _ => None,
    }
}

fn nat(kind: &str, body: &Value) -> Option<String> {
    let mut text = kind.to_owned();
    let Some(fields) = body.as_object() else { return Some(text) };
    let family = fields.get("family").and_then(word);
    if let Some(family) = &family {
        write!(text, " {family}").ok()?;
    }
    let flags = |key: &str| match fields.get(key) {
        Some(Value::Array(flags)) => flags.iter().map(word).collect::<Option<Vec<_>>>(),
        Some(flag) => word(flag).map(|flag| vec![flag]),
        None => Some(Vec::new()),
    };
    let prefix = flags("type_flags")?.iter().any(|flag| flag == "prefix");
    // Older versions say so in another place (`nat_stmt_json` in nftables' `src/json.c`).
    if prefix || flags("flags")?.iter().any(|flag| flag == "netmap") {
        text.push_str(" prefix");
    }
    let addr = fields.get("addr").map(|addr| expression(addr, 0));
    let port = fields.get("port").map(|port| expression(port, 0));
    match (addr, port) {
        (Some(addr), Some(port)) => {
            let addr = addr?;
            let brackets = addr.contains(':') && !addr.contains(' ');
            let addr = if brackets { bracketed(&addr) } else { addr };
            let gap = if addr.contains(' ') { " " } else { "" };
            write!(text, " to {addr}{gap}:{}", port?).ok()?;
        }
        (Some(addr), None) => write!(text, " to {}", addr?).ok()?,
        (None, Some(port)) => write!(text, " to :{}", port?).ok()?,
        (None, None) => {}
    }
    let flags: Vec<String> = flags("flags")?.into_iter().filter(|flag| flag != "netmap").collect();
    if !flags.is_empty() {
        write!(text, " {}", flags.join(",")).ok()?;
    }
    Some(text)
}

/// IPv6 addresses before a port.
fn bracketed(addr: &str) -> String {
    addr.split('-').map(|one| format!("[{one}]")).collect::<Vec<_>>().join("-")
}

fn meter(body: &Value) -> Option<String> {
    let size = body.get("size").and_then(Value::as_u64).map_or(String::new(), |size| format!(" size {size}"));
    let (kind, value) = body.get("stmt")?.as_object()?.iter().next()?;
    let element = format!("{} {}", expression(body.get("key")?, 0)?, written(kind, value)?);
    Some(format!("meter {}{size} {{ {element} }}", word(body.get("name")?)?))
}

fn dynset(kind: &str, body: &Value) -> Option<String> {
    let op = word(body.get("op")?)?;
    let set = word(body.get(kind)?)?;
    let mut element = expression(body.get("elem")?, 0)?;
    for statement in body.get("stmt").and_then(Value::as_array).unwrap_or(&Vec::new()) {
        let (kind, value) = statement.as_object()?.iter().next()?;
        write!(element, " {}", written(kind, value)?).ok()?;
    }
    if let Some(data) = body.get("data") {
        write!(element, " : {}", expression(data, 0)?).ok()?;
    }
    Some(format!("{op} {set} {{ {element} }}"))
}

/// A set, a map or another object of a table.
pub(super) fn object_row(kind: &str, fields: &Value) -> Option<String> {
    let name = word(fields.get("name")?)?;
    if !matches!(kind, "set" | "map") {
        // What the kernel comes to by itself is a chain, whatever it is called.
        if fields.get("hook").is_some() && kind != "flowtable" {
            return None;
        }
        let body = match kind {
            "synproxy" => offered(fields)?,
            "quota" => allowed(fields).unwrap_or_default(),
            _ => String::new(),
        };
        return Some(format!("{kind} {name} {{{body} }}"));
    }
    let mut text = format!("{kind} {name} {{ {}", set_type(kind, fields)?);
    if let Some(elements) = fields.get("elem") {
        write!(text, "; elements = {{ {} }}", self::elements(elements, 0)?).ok()?;
    }
    text.push_str(" }");
    Some(text)
}

/// What a quota of a table allows, in bytes.
fn allowed(fields: &Value) -> Option<String> {
    let number = |key: &str| fields.get(key).and_then(Value::as_u64);
    let over = if is_true(fields.get("inv")) { "over " } else { "" };
    Some(format!(" {over}{} bytes used {} bytes", number("bytes")?, number("used").unwrap_or(0)))
}

/// `type ipv4_addr . inet_service : verdict`.
fn set_type(kind: &str, fields: &Value) -> Option<String> {
    let names = |value: &Value| match value {
        Value::Array(names) => Some(names.iter().map(word).collect::<Option<Vec<_>>>()?.join(" . ")),
        // A map's value is written in one string.
        Value::String(names) => {
            let words: Option<Vec<String>> = names.split(' ').map(|name| word(&Value::from(name))).collect();
            words.map(|words| words.join(" "))
        }
        Value::Object(of) => expression(of.get("typeof")?, 0),
        _ => None,
    };
    let typeof_ = fields.get("type").is_some_and(Value::is_object);
    let mut text = format!("{} {}", if typeof_ { "typeof" } else { "type" }, names(fields.get("type")?)?);
    if kind == "map" {
        write!(text, " : {}", names(fields.get("map")?)?).ok()?;
    }
    Some(text)
}
