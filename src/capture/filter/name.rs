//! What has a name in filters: the words of the language, numbers, protocols and services.

use super::syntax::Proto;

/// Words that name a protocol, as libpcap's grammar.y has them.
const PROTOCOLS: &[(&str, Proto)] = &[
    ("link", Proto::Link),
    ("ether", Proto::Link),
    ("ppp", Proto::Link),
    ("slip", Proto::Link),
    ("fddi", Proto::Link),
    ("tr", Proto::Link),
    ("wlan", Proto::Link),
    ("ip", Proto::Ip),
    ("ip6", Proto::Ip6),
    ("arp", Proto::Arp),
    ("rarp", Proto::Rarp),
    ("tcp", Proto::Tcp),
    ("udp", Proto::Udp),
    ("sctp", Proto::Sctp),
    ("icmp", Proto::Icmp),
    ("icmp6", Proto::Icmp6),
    ("igmp", Proto::Igmp),
    ("igrp", Proto::Igrp),
    ("pim", Proto::Pim),
    ("vrrp", Proto::Vrrp),
    ("carp", Proto::Carp),
    ("ah", Proto::Ah),
    ("esp", Proto::Esp),
    ("atalk", Proto::Atalk),
    ("aarp", Proto::Aarp),
    ("decnet", Proto::Decnet),
    ("lat", Proto::Lat),
    ("sca", Proto::Sca),
    ("moprc", Proto::Moprc),
    ("mopdl", Proto::Mopdl),
    ("iso", Proto::Iso),
    ("stp", Proto::Stp),
    ("ipx", Proto::Ipx),
    ("netbeui", Proto::Netbeui),
];

/// The other words of the language that are understood. The last is flowtrace's own, and that of libpcap's next
/// version.
const WORDS: &[&str] = &[
    "dst",
    "src",
    "host",
    "net",
    "mask",
    "port",
    "portrange",
    "proto",
    "less",
    "greater",
    "byte",
    "broadcast",
    "multicast",
    "and",
    "or",
    "not",
    "len",
    "length",
    "inbound",
    "outbound",
    "ifindex",
    "vlan",
    "mpls",
    "pppoed",
    "pppoes",
    "geneve",
    "vxlan",
];

/// Words that are libpcap's and not flowtrace's, and what to do without them.
const UNSUPPORTED: &[(&[&str], &str)] = &[
    (
        &["protochain"],
        "is not supported: `ip6 proto` finds the header that comes first or behind a fragment header; other extension \
         headers are found by `ip6[6]`, their number",
    ),
    (
        &["gateway"],
        "is not supported, because it needs a host's Ethernet address: write `ether host MAC and not host ADDRESS`",
    ),
    (&["llc"], "is not supported: `ether proto` with a number up to 0x5dc compares the DSAP of an LLC frame"),
    (
        &["esis", "es-is", "isis", "is-is", "l1", "l2", "iih", "lsp", "snp", "csnp", "psnp", "clnp"],
        "is not supported: of the OSI protocols only `iso` is, all of them together",
    ),
    (
        &[
            "type",
            "subtype",
            "direction",
            "dir",
            "address1",
            "addr1",
            "address2",
            "addr2",
            "address3",
            "addr3",
            "address4",
            "addr4",
            "ra",
            "ta",
            "radio",
        ],
        "is about the headers of 802.11, which flowtrace does not read",
    ),
    (
        &["on", "ifname", "rset", "ruleset", "rnr", "rulenum", "srnr", "subrulenum", "reason", "action"],
        "is about the logs of BSD's packet filter, which flowtrace does not read",
    ),
    (
        &[
            "lane",
            "metac",
            "bcc",
            "oam",
            "oamf4",
            "oamf4ec",
            "oamf4sc",
            "sc",
            "ilmic",
            "vpi",
            "vci",
            "connectmsg",
            "metaconnect",
        ],
        "is about ATM, which flowtrace does not read",
    ),
    (
        &[
            "fisu", "lssu", "lsu", "msu", "hfisu", "hlssu", "hmsu", "sio", "opc", "dpc", "sls", "hsio", "hopc", "hdpc",
            "hsls",
        ],
        "is about SS7, which flowtrace does not read",
    ),
];

/// A word of the language, understood or not.
pub(super) fn reserved(text: &str) -> Option<&'static str> {
    let unsupported = UNSUPPORTED.iter().flat_map(|(words, _)| words.iter());
    let protocols = PROTOCOLS.iter().map(|(word, _)| word);
    WORDS.iter().chain(protocols).chain(unsupported).find(|word| **word == text).copied()
}

/// Every word that is understood.
pub(super) fn words() -> impl Iterator<Item = &'static str> {
    PROTOCOLS.iter().map(|(word, _)| *word).chain(WORDS.iter().copied())
}

/// The protocol that a word of the language names.
pub(super) fn protocol(word: &str) -> Option<Proto> {
    PROTOCOLS.iter().find(|(name, _)| *name == word).map(|(_, proto)| *proto)
}

/// The first word for a protocol.
pub(super) fn of_protocol(proto: Proto) -> &'static str {
    PROTOCOLS
        .iter()
        .filter(|(word, _)| *word != "link")
        .find(|(_, known)| *known == proto)
        .map_or("ether", |(word, _)| word)
}

/// Why a word of the language is not understood.
pub(super) fn unsupported(word: &str) -> Option<&'static str> {
    UNSUPPORTED.iter().find(|(words, _)| words.contains(&word)).map(|(_, why)| *why)
}

/// Numbers with a name.
const CONSTANTS: &[(&str, u32)] = &[
    ("tcpflags", 13),
    ("tcp-fin", 0x01),
    ("tcp-syn", 0x02),
    ("tcp-rst", 0x04),
    ("tcp-push", 0x08),
    ("tcp-ack", 0x10),
    ("tcp-urg", 0x20),
    ("tcp-ece", 0x40),
    ("tcp-cwr", 0x80),
    ("icmptype", 0),
    ("icmpcode", 1),
    ("icmp-echoreply", 0),
    ("icmp-unreach", 3),
    ("icmp-sourcequench", 4),
    ("icmp-redirect", 5),
    ("icmp-echo", 8),
    ("icmp-routeradvert", 9),
    ("icmp-routersolicit", 10),
    ("icmp-timxceed", 11),
    ("icmp-paramprob", 12),
    ("icmp-tstamp", 13),
    ("icmp-tstampreply", 14),
    ("icmp-ireq", 15),
    ("icmp-ireqreply", 16),
    ("icmp-maskreq", 17),
    ("icmp-maskreply", 18),
    ("icmp6type", 0),
    ("icmp6code", 1),
    ("icmp6-destinationunreach", 1),
    ("icmp6-packettoobig", 2),
    ("icmp6-timeexceeded", 3),
    ("icmp6-parameterproblem", 4),
    ("icmp6-echo", 128),
    ("icmp6-echoreply", 129),
    ("icmp6-multicastlistenerquery", 130),
    ("icmp6-multicastlistenerreportv1", 131),
    ("icmp6-multicastlistenerdone", 132),
    ("icmp6-routersolicit", 133),
    ("icmp6-routeradvert", 134),
    ("icmp6-neighborsolicit", 135),
    ("icmp6-neighboradvert", 136),
    ("icmp6-redirect", 137),
    ("icmp6-routerrenum", 138),
    ("icmp6-nodeinformationquery", 139),
    ("icmp6-nodeinformationresponse", 140),
    ("icmp6-ineighbordiscoverysolicit", 141),
    ("icmp6-ineighbordiscoveryadvert", 142),
    ("icmp6-multicastlistenerreportv2", 143),
    ("icmp6-homeagentdiscoveryrequest", 144),
    ("icmp6-homeagentdiscoveryreply", 145),
    ("icmp6-mobileprefixsolicit", 146),
    ("icmp6-mobileprefixadvert", 147),
    ("icmp6-certpathsolicit", 148),
    ("icmp6-certpathadvert", 149),
    ("icmp6-multicastrouteradvert", 151),
    ("icmp6-multicastroutersolicit", 152),
    ("icmp6-multicastrouterterm", 153),
];

/// A number that has a name: `tcp-syn`, `icmp-echo`.
pub(super) fn constant(text: &str) -> Option<u32> {
    number(CONSTANTS, text)
}

/// Protocols on top of IP, with the names of Debian's `/etc/protocols`. `ipip` is left out: it stands there for 94, and
/// who writes it means 4.
const IP_PROTOCOLS: &[(&str, u32)] = &[
    ("ip", 0),
    ("hopopt", 0),
    ("icmp", 1),
    ("igmp", 2),
    ("ipencap", 4),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("udp", 17),
    ("dccp", 33),
    ("ipv6", 41),
    ("ipv6-route", 43),
    ("ipv6-frag", 44),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("ipv6-nonxt", 59),
    ("ipv6-opts", 60),
    ("eigrp", 88),
    ("ospf", 89),
    ("etherip", 97),
    ("pim", 103),
    ("ipcomp", 108),
    ("vrrp", 112),
    ("l2tp", 115),
    ("isis", 124),
    ("sctp", 132),
    ("udplite", 136),
    ("mpls-in-ip", 137),
];

/// The number of a protocol on top of IP.
pub(super) fn ip_protocol(name: &str) -> Option<u32> {
    number(IP_PROTOCOLS, name)
}

/// Protocols on top of Ethernet: types, and the DSAP of those that use LLC, with libpcap's names (nametoaddr.c).
const ETHER_PROTOCOLS: &[(&str, u32)] = &[
    ("ip", 0x0800),
    ("arp", 0x0806),
    ("rarp", 0x8035),
    ("ip6", 0x86dd),
    ("atalk", 0x809b),
    ("aarp", 0x80f3),
    ("decnet", 0x6003),
    ("lat", 0x6004),
    ("sca", 0x6007),
    ("mopdl", 0x6001),
    ("moprc", 0x6002),
    ("loopback", 0x9000),
    ("iso", 0xfe),
    ("stp", 0x42),
    ("ipx", 0xe0),
    ("netbeui", 0xf0),
];

/// The type of a protocol on top of Ethernet, or the DSAP where it is at most 1500.
pub(super) fn ether_protocol(name: &str) -> Option<u32> {
    number(ETHER_PROTOCOLS, name)
}

fn number(table: &[(&str, u32)], name: &str) -> Option<u32> {
    table.iter().find(|(known, _)| *known == name).map(|(_, number)| *number)
}

/// Over what a service is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Tcp,
    Udp,
    Both,
}

/// Well-known services, with the ports and protocols of Debian's `/etc/services`.
const SERVICES: &[(&str, u16, Over)] = &[
    ("echo", 7, Over::Both),
    ("discard", 9, Over::Both),
    ("ftp-data", 20, Over::Tcp),
    ("ftp", 21, Over::Tcp),
    ("ssh", 22, Over::Tcp),
    ("telnet", 23, Over::Tcp),
    ("smtp", 25, Over::Tcp),
    ("whois", 43, Over::Tcp),
    ("domain", 53, Over::Both),
    ("bootps", 67, Over::Udp),
    ("bootpc", 68, Over::Udp),
    ("tftp", 69, Over::Udp),
    ("http", 80, Over::Tcp),
    ("www", 80, Over::Tcp),
    ("kerberos", 88, Over::Both),
    ("pop3", 110, Over::Tcp),
    ("sunrpc", 111, Over::Both),
    ("nntp", 119, Over::Tcp),
    ("ntp", 123, Over::Udp),
    ("netbios-ns", 137, Over::Udp),
    ("netbios-dgm", 138, Over::Udp),
    ("netbios-ssn", 139, Over::Tcp),
    ("imap2", 143, Over::Tcp),
    ("imap", 143, Over::Tcp),
    ("snmp", 161, Over::Both),
    ("snmp-trap", 162, Over::Both),
    ("bgp", 179, Over::Tcp),
    ("ldap", 389, Over::Both),
    ("https", 443, Over::Both),
    ("microsoft-ds", 445, Over::Tcp),
    ("isakmp", 500, Over::Udp),
    ("syslog", 514, Over::Udp),
    ("submission", 587, Over::Tcp),
    ("ldaps", 636, Over::Both),
    ("domain-s", 853, Over::Both),
    ("rsync", 873, Over::Tcp),
    ("imaps", 993, Over::Tcp),
    ("pop3s", 995, Over::Tcp),
    ("openvpn", 1194, Over::Both),
    ("radius", 1812, Over::Both),
    ("nfs", 2049, Over::Both),
    ("iscsi-target", 3260, Over::Tcp),
    ("mysql", 3306, Over::Tcp),
    ("ipsec-nat-t", 4500, Over::Udp),
    ("sip", 5060, Over::Both),
    ("mdns", 5353, Over::Udp),
    ("postgresql", 5432, Over::Tcp),
    ("redis", 6379, Over::Tcp),
    ("http-alt", 8080, Over::Tcp),
    ("git", 9418, Over::Tcp),
];

/// The port of a service, and over what it is offered.
pub(super) fn service(name: &str) -> Option<(u16, Over)> {
    SERVICES.iter().find(|(known, ..)| *known == name).map(|(_, port, over)| (*port, *over))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_stands_in_two_tables() {
        let mut all: Vec<&str> = WORDS.to_vec();
        all.extend(PROTOCOLS.iter().map(|(word, _)| *word));
        all.extend(UNSUPPORTED.iter().flat_map(|(words, _)| *words));
        all.extend(CONSTANTS.iter().map(|(word, _)| *word));
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
