//! The ratios as one picture: a row per question, a dot per round, the median and the target as lines.

use std::fmt::Write as _;

use super::report::{Limit, Line};

const WIDTH: f64 = 860.0;
const LEFT: f64 = 250.0;
const TOP: f64 = 64.0;
const ROW: f64 = 30.0;
/// The plot's own width, and the ratio at its right end.
const ACROSS: f64 = WIDTH - LEFT - 40.0;
const END: f64 = 1.2;

/// Draws them.
pub(crate) fn svg(title: &str, lines: &[Line]) -> String {
    let rows: Vec<f64> = lines.iter().scan(TOP, |y, _| Some(std::mem::replace(y, *y + ROW))).collect();
    let bottom = rows.last().copied().unwrap_or(TOP) + ROW / 2.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"16\" y=\"22\" font-size=\"14\" font-weight=\"bold\">{title}</text>\n\
         <text x=\"16\" y=\"40\">each dot a round; thick: median; dashed: target; 1 is BIRD</text>\n",
        bottom + 30.0
    );
    for tenth in (0..=12_u8).step_by(2) {
        let ratio = f64::from(tenth) / 10.0;
        let (at, colour) = (x(ratio), if tenth == 10 { "#888888" } else { "#e5e5e5" });
        let _ = write!(
            text,
            "<line x1=\"{at:.1}\" y1=\"{:.1}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\" stroke=\"{colour}\"/>\n\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{ratio:.1}</text>\n",
            TOP - ROW / 2.0,
            bottom + 16.0
        );
    }
    for (line, y) in lines.iter().zip(rows) {
        let _ = writeln!(
            text,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 10.0,
            y + 4.0,
            line.what
        );
        for value in &line.values {
            let _ = writeln!(
                text,
                "<circle cx=\"{:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"#1f6feb\" fill-opacity=\"0.5\"/>",
                x(*value)
            );
        }
        let mut mark = |value: f64, style: &str| {
            let at = x(value);
            let (from, to) = (y - 10.0, y + 10.0);
            let _ = writeln!(text, "<line x1=\"{at:.1}\" y1=\"{from:.1}\" x2=\"{at:.1}\" y2=\"{to:.1}\" {style}/>");
        };
        mark(line.median(), "stroke=\"#1f6feb\" stroke-width=\"3\"");
        if let Some(Limit::AtMost(limit) | Limit::AtLeast(limit)) = line.target {
            mark(limit, "stroke=\"#d4561f\" stroke-width=\"2\" stroke-dasharray=\"4 3\"");
        }
    }
    text.push_str("</svg>\n");
    text
}

fn x(ratio: f64) -> f64 {
    LEFT + ratio.clamp(0.0, END) / END * ACROSS
}
