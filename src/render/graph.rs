//! The packet's way as a graph: what `dot` and `mermaid` draw.

use std::collections::BTreeMap;

use petgraph::graph::{Graph, NodeIndex};

use super::View;
use crate::trace::{Decision, Step, Trace, Verdict};

/// A place where the packet can be seen, or the end of its way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Vertex {
    /// The node and the namespace that draw a box around it; `None` for the network between nodes.
    pub(super) cluster: Option<(String, String)>,
    /// What is written on it.
    pub(super) label: String,
    /// How it is drawn.
    pub(super) shape: Shape,
}

/// What a vertex stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    /// A namespace's own stack: where packets start and arrive.
    Stack,
    /// A device.
    Device,
    /// The network between nodes, and what is behind it.
    Network,
    /// Where the packet ends without having arrived.
    Grave,
}

/// One move of the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Move {
    /// The place in the packet's order, from 1 in each direction.
    pub(super) n: usize,
    /// There, or back.
    pub(super) direction: Direction,
    /// The packet's headers where they have changed.
    pub(super) label: Option<String>,
}

/// There, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The packet itself.
    Forward,
    /// Its answer.
    Reply,
}

/// The graph of all paths of an answer, a move that several paths share drawn once.
pub(super) fn graph(view: &View<'_>) -> Graph<Vertex, Move> {
    let mut drawing = Drawing::default();
    for path in &view.answer.paths {
        drawing.walk(&path.forward, Direction::Forward);
        if let Some(reply) = &path.reply {
            drawing.walk(reply, Direction::Reply);
        }
    }
    drawing.graph
}

#[derive(Default)]
struct Drawing {
    graph: Graph<Vertex, Move>,
    places: BTreeMap<Vertex, NodeIndex>,
}

impl Drawing {
    fn walk(&mut self, trace: &Trace, direction: Direction) {
        let mut at = None;
        let mut n = 0;
        let mut headers = None;
        for step in &trace.steps {
            let Some(vertex) = vertex(step) else { continue };
            let to = self.place(vertex);
            if let Some(from) = at
                && from != to
            {
                n += 1;
                let now = super::text::headers(&step.packet);
                let label = (headers.as_ref() != Some(&now)).then(|| now.clone());
                headers = Some(now);
                self.connect(from, to, Move { n, direction, label });
            }
            at = Some(to);
        }
    }

    fn place(&mut self, vertex: Vertex) -> NodeIndex {
        let graph = &mut self.graph;
        *self.places.entry(vertex).or_insert_with_key(|vertex| graph.add_node(vertex.clone()))
    }

    fn connect(&mut self, from: NodeIndex, to: NodeIndex, step: Move) {
        let known = self.graph.edges_connecting(from, to).any(|edge| *edge.weight() == step);
        if !known {
            self.graph.add_edge(from, to, step);
        }
    }
}

/// The vertex that a step moves the packet to, where it moves it at all.
fn vertex(step: &Step) -> Option<Vertex> {
    let inside = Some((step.place.node.to_string(), step.place.name.to_string()));
    let at = |shape, label: String| Vertex { cluster: inside.clone(), label, shape };
    match &step.decision {
        Decision::Receive { device, .. } | Decision::Transmit { device } => Some(at(Shape::Device, device.to_string())),
        Decision::Userspace { program, .. } => Some(at(Shape::Stack, program.clone())),
        Decision::Underlay { .. } => Some(network("underlay")),
        Decision::Send | Decision::SendOwn { .. } | Decision::End { verdict: Verdict::Delivered, .. } => {
            Some(at(Shape::Stack, "stack".to_owned()))
        }
        Decision::End { verdict: Verdict::Left, .. } => Some(network("outside")),
        Decision::End { verdict, reason, .. } => {
            let why = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
            Some(at(Shape::Grave, format!("{}{why}", verdict.as_str())))
        }
        _ => None,
    }
}

fn network(label: &str) -> Vertex {
    Vertex { cluster: None, label: label.to_owned(), shape: Shape::Network }
}

/// The vertices by node and namespace, those of no namespace under `None`.
pub(super) fn clusters(graph: &Graph<Vertex, Move>) -> BTreeMap<Option<&str>, BTreeMap<&str, Vec<NodeIndex>>> {
    let mut clusters: BTreeMap<Option<&str>, BTreeMap<&str, Vec<NodeIndex>>> = BTreeMap::new();
    for index in graph.node_indices() {
        let Some(vertex) = graph.node_weight(index) else { continue };
        let (node, netns) = match &vertex.cluster {
            Some((node, netns)) => (Some(node.as_str()), netns.as_str()),
            None => (None, ""),
        };
        clusters.entry(node).or_default().entry(netns).or_default().push(index);
    }
    clusters
}

/// What stands at an arrow: its number, and the headers where they have changed.
pub(super) fn label(step: &Move) -> String {
    match &step.label {
        Some(headers) => format!("{}: {headers}", step.n),
        None => step.n.to_string(),
    }
}
