//! Headers that end at a proxy: those of the connection, not of the message.

use http::{HeaderMap, HeaderName, header};

/// Those that always do, beside the ones that `Connection` names.
const OF_THE_CONNECTION: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What goes on: all that is not of the connection, to the letter and in its order.
pub(super) fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let named: Vec<&str> = named.flat_map(|names| names.split(',')).map(str::trim).collect();
    let ends_here = |name: &HeaderName| {
        OF_THE_CONNECTION.contains(&name.as_str()) || named.iter().any(|one| one.eq_ignore_ascii_case(name.as_str()))
    };
    let mut on = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| !ends_here(name)) {
        on.append(name.clone(), value.clone());
    }
    on
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_the_connection_ends_here_and_all_else_goes_on() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("host", "h"),
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("proxy-authorization", "Basic x"),
            ("transfer-encoding", "chunked"),
            ("x-many", "1"),
            ("x-many", "2"),
            ("content-length", "3"),
        ] {
            headers.append(name, value.parse().unwrap());
        }
        let on = passed_on(&headers);
        let on: Vec<_> = on.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        assert_eq!(on, [("host", "h"), ("x-many", "1"), ("x-many", "2"), ("content-length", "3")]);
    }
}
