//! Statements as text that reads back as the same statements.

use std::fmt;

use super::{Condition, Filter, Junction, Lengths, Pattern, Statement};

/// The statements, one per line, with every block in braces; comments and the layout of the original are gone.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        block(f, &self.body, 0)
    }
}

fn block(f: &mut fmt::Formatter<'_>, statements: &[Statement], depth: usize) -> fmt::Result {
    let indent = 4 * depth;
    for statement in statements {
        write!(f, "{:indent$}", "")?;
        match statement {
            Statement::Accept(_) => f.write_str("accept;\n")?,
            Statement::Reject(_) => f.write_str("reject;\n")?,
            Statement::If { arms, otherwise } => {
                for (n, (condition, then)) in arms.iter().enumerate() {
                    let word = if n == 0 { "" } else { " else " };
                    writeln!(f, "{word}if {condition} then {{")?;
                    block(f, then, depth + 1)?;
                    write!(f, "{:indent$}}}", "")?;
                }
                if let Some(otherwise) = otherwise {
                    f.write_str(" else {\n")?;
                    block(f, otherwise, depth + 1)?;
                    write!(f, "{:indent$}}}", "")?;
                }
                f.write_str("\n")?;
            }
        }
    }
    Ok(())
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let equality = |yes: &bool| if *yes { "=" } else { "!=" };
        let membership = |yes: &bool| if *yes { "~" } else { "!~" };
        match self {
            Self::Constant(value) => write!(f, "{value}"),
            Self::Not(inner) => match &**inner {
                Self::Constant(_) | Self::Not(_) => write!(f, "!{inner}"),
                _ => write!(f, "!({inner})"),
            },
            Self::Chain { first, rest } => {
                grouped(f, first)?;
                rest.iter().try_for_each(|(junction, operand)| {
                    f.write_str(match junction {
                        Junction::And => " && ",
                        Junction::Or => " || ",
                    })?;
                    grouped(f, operand)
                })
            }
            Self::NetIs(yes, prefix) => write!(f, "net {} {prefix}", equality(yes)),
            Self::NetIn(yes, prefix) => write!(f, "net {} {prefix}", membership(yes)),
            Self::NetInSet(yes, patterns) => {
                write!(f, "net {} [", membership(yes))?;
                for (n, pattern) in patterns.iter().enumerate() {
                    write!(f, "{}{pattern}", if n == 0 { " " } else { ", " })?;
                }
                f.write_str(" ]")
            }
            Self::IfnameIs(yes, name) => write!(f, "ifname {} \"{name}\"", equality(yes)),
            Self::IfnameLike(yes, pattern) => write!(f, "ifname {} \"{pattern}\"", membership(yes)),
        }
    }
}

/// An operand of a chain: a chain inside a chain keeps its parentheses.
fn grouped(f: &mut fmt::Formatter<'_>, condition: &Condition) -> fmt::Result {
    match condition {
        Condition::Chain { .. } => write!(f, "({condition})"),
        other => write!(f, "{other}"),
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.prefix)?;
        match self.lengths {
            Lengths::Own => Ok(()),
            Lengths::OrLonger => f.write_str("+"),
            Lengths::OrShorter => f.write_str("-"),
            Lengths::Between(low, high) => write!(f, "{{{low},{high}}}"),
        }
    }
}
