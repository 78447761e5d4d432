use super::*;
use crate::collect::node::netlink::socket::Dump;

/// An attribute.
fn attr(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap();
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attr(kind, &value.to_be_bytes())
}

fn long(kind: u16, value: u64) -> Vec<u8> {
    attr(kind, &value.to_be_bytes())
}

fn expression(name: &str, data: &[Vec<u8>]) -> Vec<u8> {
    attr(1, &[attr(1, format!("{name}\0").as_bytes()), attr(2, &data.concat())].concat())
}

fn value(kind: u16, bytes: &[u8]) -> Vec<u8> {
    attr(kind, &attr(1, bytes))
}

/// A rule of the chain `C`, by its expressions.
fn rule_of(expressions: &[Vec<u8>], more: &[Vec<u8>]) -> Vec<u8> {
    [attr(1, b"filter\0"), attr(2, b"C\0"), attr(4, &expressions.concat()), more.concat()].concat()
}

fn written(rule: &[u8]) -> Option<String> {
    let mut line = Line::default();
    rule::write(&mut line, b"C", &Attrs::parse(rule).ok()?, Family::Inet)?;
    Some(String::from_utf8_lossy(&line.0).into_owned())
}

/// `meta l4proto tcp`.
fn tcp() -> Vec<Vec<u8>> {
    let load = expression("meta", &[number(2, 16), number(1, 1)]);
    vec![load, expression("cmp", &[number(1, 1), number(2, 0), value(3, &[6])])]
}

/// A comparison of bytes of the packet.
fn payload(base: u32, at: u32, op: u32, bytes: &[u8]) -> Vec<Vec<u8>> {
    let length = u32::try_from(bytes.len()).unwrap();
    let load = expression("payload", &[number(1, 1), number(2, base), number(3, at), number(4, length)]);
    vec![load, expression("cmp", &[number(1, 1), number(2, op), value(3, bytes)])]
}

fn counter() -> Vec<u8> {
    expression("counter", &[long(1, 60), long(2, 1)])
}

fn verdict(code: i32) -> Vec<u8> {
    let verdict = attr(2, &number(1, code.cast_unsigned()));
    expression("immediate", &[number(1, 0), attr(2, &verdict)])
}

fn whole() -> Vec<u8> {
    let mask = vec![0xff, 0xff, 0xff, 0xc0];
    let masked = vec![
        expression("payload", &[number(1, 1), number(2, 1), number(3, 12), number(4, 4)]),
        expression(
            "bitwise",
            &[number(1, 1), number(2, 1), number(3, 4), value(4, &mask), value(5, &[0; 4]), number(6, 0)],
        ),
        expression("cmp", &[number(1, 1), number(2, 1), value(3, &[10, 0, 0, 64])]),
    ];
    let info = [&[0u8; 2][..], &4u16.to_ne_bytes(), &[0; 4]].concat();
    let addrtype = expression("match", &[attr(1, b"addrtype\0"), number(2, 1), attr(3, &info)]);
    let parts = [tcp(), masked, payload(1, 16, 0, &[10, 96]), payload(2, 2, 0, &[0, 80])].concat();
    let comment = attr(7, b"\x00\x04a b\0");
    rule_of(&[parts, vec![addrtype, counter(), verdict(1)]].concat(), &[comment])
}

#[test]
fn a_rule_is_written_as_the_tool_prints_it() {
    let wanted = "[1:60] -A C ! -s 10.0.0.64/26 -d 10.96.0.0/16 -p tcp -m tcp --dport 80 -m addrtype --dst-type LOCAL \
                  -m comment --comment \"a b\" -j ACCEPT\n";
    assert_eq!(written(&whole()).as_deref(), Some(wanted));
    let older = rule_of(&[payload(1, 9, 1, &[17]), vec![verdict(-5)]].concat(), &[]);
    assert_eq!(written(&older).as_deref(), Some("[0:0] -A C ! -p udp -j RETURN\n"));
}

#[test]
fn comparisons_with_one_port_are_the_ranges_that_the_tool_makes_of_them() {
    for (op, port, wanted) in [
        (2, 0u16, "--dport 0:1"),
        (2, 80, "--dport 0:79"),
        (3, 80, "--dport 0:80"),
        (4, 80, "--dport 81:65535"),
        (4, 65535, "--dport 65535"),
        (5, 80, "--dport 80:65535"),
    ] {
        let rule = rule_of(&[tcp(), payload(2, 2, op, &port.to_be_bytes())].concat(), &[]);
        assert_eq!(written(&rule), Some(format!("[0:0] -A C -p tcp -m tcp {wanted}\n")));
    }
}

#[test]
fn what_is_not_known_is_not_written() {
    let refused = |parts: &[Vec<Vec<u8>>], more: &[Vec<u8>]| {
        let rule = rule_of(&parts.concat(), more);
        assert_eq!(written(&rule), None, "{rule:?}");
    };
    // An expression, an attribute of one, and one of the rule that nobody knows.
    refused(&[vec![expression("ct", &[])]], &[]);
    refused(&[vec![expression("counter", &[long(1, 1), long(2, 1), number(4, 1)])]], &[]);
    refused(&[], &[attr(9, &[0; 4])]);
    // The same twice, and what stands behind the verdict.
    refused(&[tcp(), tcp()], &[]);
    refused(&[vec![counter(), counter()]], &[]);
    refused(&[vec![verdict(1), counter()]], &[]);
    refused(&[vec![verdict(3)]], &[]);
    refused(&[vec![verdict(-3)]], &[]);
    // A port without its protocol; fields and lengths that are no address.
    refused(&[payload(2, 2, 0, &[0, 80])], &[]);
    refused(&[payload(1, 8, 0, &[64])], &[]);
    refused(&[payload(1, 12, 2, &[10])], &[]);
    refused(&[payload(0, 0, 0, &[0; 6])], &[]);
    // Comments with more in them, and of another kind.
    refused(&[], &[attr(7, b"\x00\x04a\0b\0")]);
    refused(&[], &[attr(7, b"\x00\x04a b\0\x01\x01\0")]);
    refused(&[], &[attr(7, b"\x01\x02a\0")]);
    // Extensions of other revisions, sizes and bits.
    let extension = |kind: &str, name: &str, revision: u32, info: &[u8]| {
        vec![expression(kind, &[attr(1, format!("{name}\0").as_bytes()), number(2, revision), attr(3, info)])]
    };
    refused(&[extension("match", "addrtype", 0, &[0; 8])], &[]);
    refused(&[extension("match", "addrtype", 1, &[0; 16])], &[]);
    refused(&[extension("match", "addrtype", 1, &[0, 0, 0, 0, 16, 16, 16, 16])], &[]);
    refused(&[extension("match", "nosuch", 0, &[0; 8])], &[]);
    refused(&[extension("match", "conntrack", 3, &[0xff; 168])], &[]);
    refused(&[extension("target", "REJECT", 0, &[9, 0, 0, 0, 0, 0, 0, 0])], &[]);
    refused(&[extension("target", "DNAT", 2, &[0xff; 48])], &[]);
}

#[test]
fn cut_and_changed_rules_are_never_a_panic() {
    let whole = whole();
    for end in 0..whole.len() {
        let _ = written(&whole[..end]);
    }
    for at in 0..whole.len() {
        for byte in [0, 1, 3, 4, 127, 128, 255] {
            let mut changed = whole.clone();
            changed[at] = byte;
            let _ = written(&changed);
        }
    }
    for family in [Family::Inet, Family::Inet6] {
        for name in [
            "comment",
            "tcp",
            "udp",
            "statistic",
            "limit",
            "physdev",
            "rpfilter",
            "mark",
            "connmark",
            "addrtype",
            "multiport",
            "recent",
            "icmp",
            "icmp6",
            "conntrack",
        ] {
            for (length, byte) in (0..300).flat_map(|length| [0, 1, 15, 127, 255].map(|byte| (length, byte))) {
                for revision in [0, 1, 3] {
                    let _ =
                        matches::write(&mut Line::default(), name.as_bytes(), revision, &vec![byte; length], family);
                }
            }
        }
        for name in ["DNAT", "SNAT", "MASQUERADE", "REDIRECT", "MARK", "REJECT", "LOG", "CT"] {
            for (length, byte) in (0..100).flat_map(|length| [0, 1, 15, 127, 255].map(|byte| (length, byte))) {
                for revision in 0..3 {
                    let _ =
                        targets::write(&mut Line::default(), name.as_bytes(), revision, &vec![byte; length], family);
                }
            }
        }
    }
}

/// A message's header of nfnetlink, and attributes.
fn message(attrs: &[Vec<u8>]) -> Vec<u8> {
    [vec![2, 0, 0, 0], attrs.concat()].concat()
}

fn base(name: &str, hook: u32, priority: i32) -> Vec<u8> {
    let hook = attr(4, &[number(1, hook), number(2, priority.cast_unsigned())].concat());
    let counters = attr(8, &[long(1, 77), long(2, 7)].concat());
    let name = attr(3, format!("{name}\0").as_bytes());
    message(&[attr(1, b"filter\0"), name, hook, number(5, 0), attr(7, b"filter\0"), counters, number(10, 1)])
}

#[test]
fn a_table_is_known_where_it_is_as_iptables_makes_it() {
    let table = |uses: u32, more: &[Vec<u8>]| {
        let attrs = [vec![attr(1, b"filter\0"), number(2, 0), number(3, uses)], more.to_vec()].concat();
        objects::tables(&Dump::of(&[message(&attrs)])).unwrap().remove(0)
    };
    let chain = |name: &str| message(&[attr(1, b"filter\0"), attr(3, format!("{name}\0").as_bytes())]);
    let of = |kernel: &KernelTable, bodies: &[Vec<u8>]| {
        let chains = objects::chains(&Dump::of(bodies)).unwrap();
        let table = Table::of(TABLES[3], kernel, &chains, Family::Inet)?;
        let names: Vec<String> = table.chains.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
        Some((names, table.has_chains_alone, table.listing))
    };
    let bodies = [chain("b"), base("FORWARD", 2, 0), chain("a")];
    let listing =
        "table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority 0; policy drop;\n\t}\n}\n";
    assert_eq!(of(&table(3, &[]), &bodies), Some((vec!["a".into(), "b".into()], true, listing.into())));
    // A set beside them.
    assert!(matches!(of(&table(4, &[]), &bodies), Some((_, false, _))));
    // A comment of the table's, a base chain of nobody's, one with another priority, and one without a hook.
    assert_eq!(of(&table(3, &[attr(6, b"x")]), &bodies), None);
    assert_eq!(of(&table(1, &[]), &[base("x", 2, 0)]), None);
    assert_eq!(of(&table(1, &[]), &[base("FORWARD", 2, 1)]), None);
    assert_eq!(of(&table(1, &[]), &[chain("FORWARD")]), None);
}

#[test]
fn tools_are_known_by_what_they_say() {
    assert!(Tool::of("iptables-nft-save v1.8.9 (nf_tables)\n").is_some());
    for said in [
        "",
        "iptables-save v1.8.9 (legacy)",
        "iptables-nft-save v1.8.2 (nf_tables)",
        "iptables-nft-save v1.8.9.1 (nf_tables)",
    ] {
        assert!(Tool::of(said).is_none(), "{said}");
    }
}

#[test]
fn moments_are_written_as_c_does_it() {
    assert_eq!(ctime(1_795_916_104), "Sun Nov 29 01:35:04 2026");
    assert_eq!(ctime(0), "Thu Jan  1 00:00:00 1970");
}

#[test]
fn nft_is_asked_for_tables_with_plain_names() {
    let name = |family: u8, name: &[u8]| TableName { family, name: name.to_owned() };
    assert_eq!(name(1, b"fw").words(), Some(["inet", "fw"]));
    for odd in [name(1, b"a b"), name(1, b"-f"), name(1, b"\xff"), name(1, b""), name(77, b"fw")] {
        assert_eq!(odd.words(), None);
    }
}
