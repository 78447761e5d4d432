//! Layer 3: one packet at several capture points.
//!
//! Captures are read twice. The first pass, a [`Survey`], looks at a sample and learns what the nodes' clocks differ by
//! and where packets go on from each point; the second, a [`Window`], follows every packet, in the order of corrected
//! times, and hands each on as a [`Journey`] once it is waited for no longer.
//!
//! | module | does |
//! | --- | --- |
//! | [`sight`] | what a point saw of a packet: a [`Sight`] in a [`Lane`] |
//! | [`point`] | capture points by name |
//! | [`identity`] | what makes it the same packet elsewhere |
//! | `alike` | packets that only look the same |
//! | [`recognize()`] | makes a sight of a decoded packet |
//! | [`survey`], [`clocks`], [`clock`] | the first pass, and what the clocks differ by |
//! | [`onward`], [`order`] | which point comes next, and which comes first |
//! | `carried` | which data of a flow went before |
//! | `owner` | whose link addresses are whose |
//! | [`window`] | the second pass |
//! | [`flow`], [`delay`] | what the packets of a flow have in common |
//! | [`rewrite`] | what changed between two sights |
//! | [`predict`], [`compare`] | packets against the path that a snapshot predicts |
//! | [`outlook`], [`counter`] | what that says of flows, and of the rules that lost packets |
//!
//! Nothing here reads a file or asks for the time: the packets are handed in.

mod alike;
mod carried;
pub mod clock;
pub mod clocks;
pub mod compare;
pub mod counter;
pub mod delay;
pub mod flow;
pub mod identity;
pub mod journey;
pub mod lanes;
pub mod onward;
mod open;
pub mod order;
pub mod outlook;
mod owner;
pub mod point;
pub mod predict;
pub mod recognize;
pub mod rewrite;
mod segment;
pub mod sight;
pub mod survey;
#[cfg(test)]
mod tests;
pub mod window;

pub use clock::{Doubt, Line};
pub use clocks::{Clock, Clocks};
pub use compare::{Difference, Meaning};
pub use counter::{Counted, counted};
pub use delay::Delays;
pub use flow::{Ended, Flow, Flows, Hop};
pub use journey::{End, Journey, Seen};
pub use lanes::{FlowId, LaneId, Lanes};
pub use onward::Onward;
pub use outlook::{Outlook, Told};
pub use point::{Named, Point};
pub use predict::{Predicted, PredictedHop, Predictor, State};
pub use recognize::{Depth, Origin, Unfit, kept, recognize};
pub use rewrite::{Change, changes};
pub use sight::{FileId, Lane, NodeId, Outer, PointId, Sight, Vague};
pub use survey::{Learned, Period, Survey};
pub use window::{Summary, WIDTH, Window};
