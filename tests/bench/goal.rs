//! A goal, and how it went.

/// A number that must not be exceeded, and what was measured.
pub struct Goal {
    what: String,
    unit: &'static str,
    limit: f64,
    /// What was measured, or why it could not be.
    measured: Result<f64, String>,
    /// The numbers behind it.
    numbers: String,
}

impl Goal {
    /// A goal that was tried.
    pub fn at_most(
        what: impl Into<String>,
        (limit, unit): (f64, &'static str),
        measured: f64,
        numbers: String,
    ) -> Self {
        Self { what: what.into(), unit, limit, measured: Ok(measured), numbers }
    }

    /// A goal that could not be tried.
    pub fn untried(what: impl Into<String>, (limit, unit): (f64, &'static str), why: impl Into<String>) -> Self {
        Self { what: what.into(), unit, limit, measured: Err(why.into()), numbers: String::new() }
    }

    /// The head of the table.
    pub fn print_head() {
        println!("{:<66} {:>10} {:>12}", "goal", "wanted", "measured");
    }

    /// A row of the table, and the numbers below it.
    pub fn print(&self) {
        let (got, word) = match &self.measured {
            Ok(got) if *got <= self.limit => (format!("{got:.3}{}", self.unit), "met"),
            Ok(got) => (format!("{got:.3}{}", self.unit), "MISSED"),
            Err(_) => ("-".to_owned(), "NOT TRIED"),
        };
        let wanted = format!("≤ {}{}", self.limit, self.unit);
        println!("{:<66} {wanted:>10} {got:>12}  {word}", self.what);
        println!("    {}", self.measured.as_ref().err().unwrap_or(&self.numbers));
    }

    /// 0 where it is met, 1 where it is missed, 2 where it could not be tried.
    pub fn code(&self) -> u8 {
        match self.measured {
            Ok(got) if got <= self.limit => 0,
            Ok(_) => 1,
            Err(_) => 2,
        }
    }
}
