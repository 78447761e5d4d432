//! The packet's way for Graphviz (`dot -Tsvg`).

use std::io::{self, Write};

use petgraph::graph::{Graph, NodeIndex};
use petgraph::visit::EdgeRef as _;

use super::View;
use super::escape::{Charset, clean};
use super::graph::{self, Direction, Move, Shape, Vertex};

/// Writes the answer as a Graphviz graph: a box for each node and namespace, devices in it, arrows in packet order.
pub fn dot(view: &View<'_>, out: &mut dyn Write) -> io::Result<()> {
    let graph = graph::graph(view);
    writeln!(out, "digraph flowtrace {{")?;
    writeln!(out, "  rankdir=LR; compound=true;")?;
    writeln!(out, "  label={};", quote(&format!("{} to {}: {}", view.from, view.to, view.answer.verdict().as_str())))?;
    writeln!(out, "  node [fontname=\"monospace\"]; edge [fontname=\"monospace\", fontsize=10];")?;
    for (place, (node, spaces)) in graph::clusters(&graph).into_iter().enumerate() {
        match node {
            Some(node) => cluster(&graph, place, node, spaces, out)?,
            None => vertices(&graph, spaces.into_values().flatten(), "  ", out)?,
        }
    }
    for edge in graph.edge_references() {
        arrow(edge.source(), edge.target(), edge.weight(), out)?;
    }
    writeln!(out, "}}")
}

fn cluster(
    graph: &Graph<Vertex, Move>,
    place: usize,
    node: &str,
    spaces: std::collections::BTreeMap<&str, Vec<NodeIndex>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    writeln!(out, "  subgraph cluster_{place} {{")?;
    writeln!(out, "    label={};", quote(node))?;
    for (number, (netns, members)) in spaces.into_iter().enumerate() {
        writeln!(out, "    subgraph cluster_{place}_{number} {{")?;
        writeln!(out, "      label={};", quote(netns))?;
        vertices(graph, members.into_iter(), "      ", out)?;
        writeln!(out, "    }}")?;
    }
    writeln!(out, "  }}")
}

fn vertices(
    graph: &Graph<Vertex, Move>,
    members: impl Iterator<Item = NodeIndex>,
    indent: &str,
    out: &mut dyn Write,
) -> io::Result<()> {
    for index in members {
        let Some(vertex) = graph.node_weight(index) else { continue };
        let shape = match vertex.shape {
            Shape::Stack => "ellipse",
            Shape::Device => "box",
            Shape::Network => "hexagon",
            Shape::Grave => "octagon",
        };
        writeln!(out, "{indent}v{} [label={}, shape={shape}];", index.index(), quote(&vertex.label))?;
    }
    Ok(())
}

fn arrow(from: NodeIndex, to: NodeIndex, step: &Move, out: &mut dyn Write) -> io::Result<()> {
    let style = match step.direction {
        Direction::Forward => "solid",
        Direction::Reply => "dashed",
    };
    let label = quote(&graph::label(step));
    writeln!(out, "  v{} -> v{} [label={label}, style={style}];", from.index(), to.index())
}

/// A double-quoted string of the DOT language. A backslash would start one of its escapes, so it is doubled.
fn quote(text: &str) -> String {
    format!("\"{}\"", clean(text, Charset::Unicode).replace('\\', "\\\\").replace('"', "\\\""))
}
