//! The views, on hand-made answers.

mod sample;

use flowtrace::render::{self, Charset, Style, View};
use flowtrace::trace::Answer;
use sample::Sample;

fn view<'a>(sample: &'a Sample, answer: &'a Answer) -> View<'a> {
    View { from: "default/pod1", to: "svc/kube-system/kube-dns:53", answer, files: &sample.files }
}

fn text(sample: &Sample, answer: &Answer, style: Style) -> String {
    let mut out = Vec::new();
    render::text(&view(sample, answer), style, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn text_prints() {
    let sample = Sample::new();
    for answer in sample.all() {
        println!("{}\n=======", text(&sample, &answer, Style::default()));
    }
    println!("{}\n=======", text(&sample, &sample.service(), Style { verbose: true, ..Style::default() }));
    let mut out = Vec::new();
    render::json(&view(&sample, &sample.rejected()), &mut out).unwrap();
    println!("{}", String::from_utf8(out).unwrap());
}
