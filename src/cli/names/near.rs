//! The nearest names, for whoever mistyped one.

/// How many names are suggested.
const MOST: usize = 3;
/// How many names are listed where none is near.
const LISTED: usize = 5;

/// `; did you mean a, b?`, or nothing. `part` gives the part of a known name that is compared.
pub(in super::super) fn hint(typed: &str, known: impl IntoIterator<Item = String>, part: fn(&str) -> &str) -> String {
    let limit = (typed.chars().count() / 3).max(2);
    let mut near: Vec<(usize, String)> = known
        .into_iter()
        .map(|name| (distance(typed, part(&name)), name))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    near.sort();
    near.dedup();
    let names: Vec<&str> = near.iter().take(MOST).map(|(_, name)| name.as_str()).collect();
    match names.as_slice() {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(" or ")),
    }
}

/// Where nothing is near, the first of what there is: `; there are a, b and 7 more`, or nothing where there is none.
pub(in super::super) fn or_list(hint: String, known: impl IntoIterator<Item = String>) -> String {
    if !hint.is_empty() {
        return hint;
    }
    let mut known: Vec<String> = known.into_iter().collect();
    known.sort();
    known.dedup();
    let (shown, rest) = known.split_at(known.len().min(LISTED));
    match (shown, rest.len()) {
        ([], _) => String::new(),
        ([one], _) => format!("; there is {one}"),
        (shown, 0) => format!("; there are {}", shown.join(", ")),
        (shown, more) => format!("; there are {} and {more} more", shown.join(", ")),
    }
}

/// How many letters have to be put in, left out or changed. A name that the other one starts with is near.
fn distance(typed: &str, known: &str) -> usize {
    if !typed.is_empty() && known.len() > typed.len() && known.starts_with(typed) {
        return 1;
    }
    let known: Vec<char> = known.chars().collect();
    let mut row: Vec<usize> = (0..=known.len()).collect();
    for (place, letter) in typed.chars().enumerate() {
        let mut corner = place;
        let mut left = place + 1;
        let mut next = vec![left];
        for (other, above) in known.iter().zip(row.iter().skip(1)) {
            left = (corner + usize::from(*other != letter)).min(left + 1).min(above + 1);
            corner = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_letters() {
        assert_eq!(distance("web", "web"), 0);
        assert_eq!(distance("wep", "web"), 1);
        assert_eq!(distance("", "web"), 3);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("webb", "web"), 1);
        assert_eq!(distance("core", "coredns-abc"), 1);
    }

    #[test]
    fn only_near_names_are_suggested() {
        let known = || ["shop/web".to_owned(), "shop/db".to_owned(), "shop/wed".to_owned()];
        assert_eq!(
            hint("wep", known(), |near| near.trim_start_matches("shop/")),
            "; did you mean shop/web or shop/wed?"
        );
        assert_eq!(hint("nothing", known(), |near| near), "");
    }

    #[test]
    fn where_nothing_is_near_the_first_names_are_listed() {
        let names = |count: usize| (0..count).map(|number| format!("p{number}"));
        assert_eq!(or_list("; did you mean x?".to_owned(), names(2)), "; did you mean x?");
        assert_eq!(or_list(String::new(), names(0)), "");
        assert_eq!(or_list(String::new(), names(1)), "; there is p0");
        assert_eq!(or_list(String::new(), names(2)), "; there are p0, p1");
        assert_eq!(or_list(String::new(), names(9)), "; there are p0, p1, p2, p3, p4 and 4 more");
    }
}
