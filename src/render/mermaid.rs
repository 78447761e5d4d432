//! The packet's way as a Mermaid flowchart, for Markdown.

use std::fmt::Write as _;
use std::io::{self, Write};

use petgraph::graph::{Graph, NodeIndex};
use petgraph::visit::EdgeRef as _;

use super::View;
use super::escape::{Charset, clean};
use super::graph::{self, Direction, Move, Shape, Vertex};

/// Writes the answer as a Mermaid flowchart: a box for each node and namespace, devices in it, arrows in packet order.
pub fn mermaid(view: &View<'_>, out: &mut dyn Write) -> io::Result<()> {
    let graph = graph::graph(view);
    writeln!(out, "flowchart LR")?;
    for (place, (node, spaces)) in graph::clusters(&graph).into_iter().enumerate() {
        let Some(node) = node else {
            vertices(&graph, spaces.into_values().flatten(), "  ", out)?;
            continue;
        };
        writeln!(out, "  subgraph node{place}[{}]", quote(node))?;
        for (number, (netns, members)) in spaces.into_iter().enumerate() {
            writeln!(out, "    subgraph netns{place}_{number}[{}]", quote(netns))?;
            vertices(&graph, members.into_iter(), "      ", out)?;
            writeln!(out, "    end")?;
        }
        writeln!(out, "  end")?;
    }
    for edge in graph.edge_references() {
        arrow(edge.source(), edge.target(), edge.weight(), out)?;
    }
    Ok(())
}

fn vertices(
    graph: &Graph<Vertex, Move>,
    members: impl Iterator<Item = NodeIndex>,
    indent: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    for index in members {
        let Some(vertex) = graph.node_weight(index) else { continue };
        let (open, close) = match vertex.shape {
            Shape::Stack => ("([", "])"),
            Shape::Device => ("[", "]"),
            Shape::Network => ("{{", "}}"),
            Shape::Grave => ("[[", "]]"),
        };
        writeln!(out, "{indent}v{}{open}{}{close}", index.index(), quote(&vertex.label))?;
    }
    Ok(())
}

fn arrow(from: NodeIndex, to: NodeIndex, step: &Move, out: &mut dyn Write) -> io::Result<()> {
    let line = match step.direction {
        Direction::Forward => "-->",
        Direction::Reply => "-.->",
    };
    writeln!(out, "  v{} {line}|{}| v{}", from.index(), quote(&graph::label(step)), to.index())
}

/// A quoted Mermaid string. What could end it, or mean something inside it (Markdown, HTML, entities), becomes a
/// character entity, which Mermaid writes `#35;`.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in clean(text, Charset::Unicode).chars() {
        if c.is_alphanumeric() || " .,:/-_=+()".contains(c) {
            out.push(c);
        } else {
            // Writing to a string can't fail.
            let _ = write!(out, "#{};", u32::from(c));
        }
    }
    out.push('"');
    out
}
