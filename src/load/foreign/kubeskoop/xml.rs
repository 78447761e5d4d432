//! What `iptables-xml` makes of `iptables-save`, made back (as `iptables.xslt` of iptables does).

use std::fmt::Write as _;

/// How deep elements stand in each other: rules, table, chain, rule, conditions, match, option.
const DEPTH: usize = 16;

/// An element: `<udp ><dport invert="1">53</dport></udp>`.
#[derive(Debug, Default)]
struct Element<'a> {
    name: &'a str,
    attributes: Vec<(&'a str, String)>,
    children: Vec<Element<'a>>,
    text: String,
}

/// The text of `iptables-save`. The error says what is wrong.
pub(super) fn saved(xml: &str) -> Result<String, String> {
    let mut text = String::new();
    // The first comment is the header, which says which backend it was.
    if let Some(header) = xml.split("<!-- ").nth(1).and_then(|rest| rest.split(" -->").next()) {
        let _ = writeln!(text, "{}", header.replace("iptables*-save", "iptables-save"));
    }
    let root = parse(xml)?;
    for table in root.children.iter().filter(|element| element.name == "table") {
        let name = table.attribute("name").ok_or("a table has no name")?;
        let _ = writeln!(text, "*{name}");
        let chains: Vec<&Element<'_>> = table.children.iter().filter(|element| element.name == "chain").collect();
        for chain in &chains {
            let name = chain.attribute("name").ok_or("a chain has no name")?;
            let count = |which: &str| chain.attribute(which).unwrap_or("0").to_owned();
            let policy = chain.attribute("policy").unwrap_or("-");
            let _ = writeln!(text, ":{name} {policy} [{}:{}]", count("packet-count"), count("byte-count"));
        }
        for chain in &chains {
            for rule in chain.children.iter().filter(|element| element.name == "rule") {
                let _ = writeln!(text, "{}", line(chain.attribute("name").unwrap_or_default(), rule)?);
            }
        }
        text.push_str("COMMIT\n");
    }
    Ok(text)
}

/// A rule.
fn line(chain: &str, rule: &Element<'_>) -> Result<String, String> {
    let mut line = String::new();
    if let (Some(packets), Some(bytes)) = (rule.attribute("packet-count"), rule.attribute("byte-count")) {
        let _ = write!(line, "[{packets}:{bytes}] ");
    }
    let _ = write!(line, "-A {chain}");
    for condition in rule.part("conditions") {
        if condition.name != "match" {
            let _ = write!(line, " -m {}", condition.name);
        }
        condition.options(&mut line);
    }
    let mut actions = rule.part("actions");
    if let Some(action) = actions.next() {
        let target = match action.name {
            "call" | "goto" => action.children.first().ok_or("a jump leads nowhere")?.name,
            name => name,
        };
        let _ = write!(line, " {} {target}", if action.name == "goto" { "-g" } else { "-j" });
        if !matches!(action.name, "call" | "goto") {
            action.options(&mut line);
        }
    }
    match actions.next() {
        None => Ok(line),
        Some(_) => Err(format!("a rule of {chain} has two actions: iptables-xml -c joins rules")),
    }
}

impl Element<'_> {
    /// What stands in its children of a name.
    fn part(&self, name: &'static str) -> impl Iterator<Item = &Self> {
        self.children.iter().filter(move |element| element.name == name).flat_map(|element| &element.children)
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(known, _)| *known == name).map(|(_, value)| value.as_str())
    }

    /// A match's or target's options.
    fn options(&self, line: &mut String) {
        for option in &self.children {
            if option.attribute("invert") == Some("1") {
                line.push_str(" !");
            }
            let _ = write!(line, " {}{}", if option.name.len() == 1 { "-" } else { "--" }, option.name);
            let value = option.text.trim();
            // The quotes of a text are kept, and what stood before those in it is not.
            match value.strip_prefix('"').and_then(|inner| inner.strip_suffix('"')) {
                Some(inner) => drop(write!(line, " \"{}\"", inner.replace('\\', "\\\\").replace('"', "\\\""))),
                None if value.is_empty() => {}
                None => drop(write!(line, " {value}")),
            }
        }
    }
}

/// Reads elements, attributes and texts; comments are passed over. What else XML has, iptables-xml does not write.
fn parse(xml: &str) -> Result<Element<'_>, String> {
    let mut open: Vec<Element<'_>> = Vec::new();
    let mut rest = xml;
    while let Some(at) = rest.find('<') {
        if let Some(element) = open.last_mut() {
            element.text.push_str(&unescaped(rest.get(..at).unwrap_or_default()));
        }
        rest = rest.get(at..).unwrap_or_default();
        if let Some(behind) = rest.strip_prefix("<!--") {
            rest = behind.split_once("-->").ok_or("a comment has no end")?.1;
            continue;
        }
        let (tag, behind) = rest.get(1..).and_then(|tag| tag.split_once('>')).ok_or("a tag has no end")?;
        rest = behind;
        if let Some(name) = tag.strip_prefix('/') {
            let element = open.pop().filter(|element| element.name == name.trim());
            let element = element.ok_or_else(|| format!("</{name}> ends nothing"))?;
            match open.last_mut() {
                Some(above) => above.children.push(element),
                None => return Ok(element),
            }
            continue;
        }
        let (element, is_whole) = begun(tag)?;
        if !is_whole && open.len() >= DEPTH {
            return Err("elements stand too deep in each other".to_owned());
        }
        match (is_whole, open.last_mut()) {
            (false, _) => open.push(element),
            (true, Some(above)) => above.children.push(element),
            (true, None) => return Ok(element),
        }
    }
    Err("there is no element, or one has no end".to_owned())
}

/// A tag without its brackets, and whether it is an element without content.
fn begun(tag: &str) -> Result<(Element<'_>, bool), String> {
    let (tag, is_whole) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    if name.is_empty() {
        return Err("a tag has no name".to_owned());
    }
    let mut element = Element { name, ..Element::default() };
    while let Some((key, behind)) = rest.split_once("=\"") {
        let (value, behind) = behind.split_once('"').ok_or("an attribute has no end")?;
        element.attributes.push((key.trim(), unescaped(value)));
        rest = behind;
    }
    Ok((element, is_whole))
}

fn unescaped(text: &str) -> String {
    let pairs = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    pairs.iter().fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_what_iptables_save_printed() {
        let xml = r#"<iptables-rules version="1.0">
<!-- # Generated by iptables*-save v1.8.9 (nf_tables) on Sun Nov 29 01:00:00 2026 -->
  <table name="nat" >
    <chain name="PREROUTING" policy="ACCEPT" packet-count="1" byte-count="60" >
      <rule packet-count="5" byte-count="300" >
       <conditions>
        <comment ><comment >&quot;a &quot;b&quot; &lt;c&gt; &amp; d&quot;</comment></comment>
       </conditions>
       <actions> <call > <KUBE-SERVICES /> </call> </actions>
      </rule>
    </chain>
    <chain name="KUBE-SERVICES" packet-count="0" byte-count="0" >
      <rule >
       <conditions>
        <match > <s  invert="1">10.244.0.0/16</s> <p >udp</p> </match>
        <udp > <dport  invert="1">53</dport> </udp>
       </conditions>
       <actions> <DNAT > <to-destination >10.244.2.3:53</to-destination> </DNAT> </actions>
      </rule>
      <rule > <conditions> </conditions> <actions> <RETURN  /> </actions> </rule>
    </chain>
  </table>
</iptables-rules>"#;
        let wanted = "\
# Generated by iptables-save v1.8.9 (nf_tables) on Sun Nov 29 01:00:00 2026
*nat
:PREROUTING ACCEPT [1:60]
:KUBE-SERVICES - [0:0]
[5:300] -A PREROUTING -m comment --comment \"a \\\"b\\\" <c> & d\" -j KUBE-SERVICES
-A KUBE-SERVICES ! -s 10.244.0.0/16 -p udp -m udp ! --dport 53 -j DNAT --to-destination 10.244.2.3:53
-A KUBE-SERVICES -j RETURN
COMMIT
";
        assert_eq!(saved(xml).unwrap(), wanted);
    }

    #[test]
    fn what_is_no_xml_is_said_to_be_none() {
        for xml in ["", "<", "<a", "<a>", "</a>", "<a></b>", "< />", "<!--", "<a b=\"c></a>", &"<a>".repeat(100)] {
            assert!(saved(xml).is_err(), "{xml}");
        }
        assert_eq!(saved("<iptables-rules/>").as_deref(), Ok(""));
    }
}
