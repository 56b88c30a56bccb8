//! `petiole why PREFIX`.

use petiole_node::view::{RouteTable, WhyView};

use super::{bgp, fib};
use crate::cli::table::{Cell, Look, Table, paint};

/// The verdict, then the chain of decisions, then what was heard and told of it.
pub(crate) fn why(view: &WhyView) -> String {
    let mut out = format!("{}: {}\n{}\n", paint(&view.prefix.to_string(), Look::Bold), view.verdict, view.summary);
    if !view.steps.is_empty() {
        let mut table = Table::new(&["", "QUESTION", "CODE", "ANSWER"]);
        for step in &view.steps {
            let mark = if step.pass { Cell::new("+", Look::Good) } else { Cell::new("x", Look::Bad) };
            table.row(vec![
                mark,
                step.question.as_str().into(),
                Cell::new(&step.code, Look::Dim),
                step.detail.as_str().into(),
            ]);
        }
        out += &format!("\n{}", table.print());
    }
    if !view.received.is_empty() {
        out += &format!("\n{}\n{}", paint("Received", Look::Bold), bgp::received(&view.received, RouteTable::Received));
    }
    if !view.advertised.is_empty() {
        out += &format!("\n{}\n{}", paint("Advertised", Look::Bold), bgp::advertised(&view.advertised));
    }
    if let Some(kernel) = &view.kernel {
        out += &format!("\n{}\n{}", paint("Kernel", Look::Bold), fib::fib(std::slice::from_ref(kernel)));
    }
    out
}
