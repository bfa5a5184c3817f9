//! How the server is reached: whom to trust, through which proxy, with which headers.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{keys::private_text, values};
use crate::{
    connection::{Headers, Proxies, Trust, looks_secret},
    error::ConfigError,
    uploader::Options,
};

#[derive(Args)]
#[group(skip)]
#[command(next_help_heading = "Connection")]
pub(super) struct ConnectionArgs {
    /// Believe certificates that the CAs in this file (PEM) have signed, and no others [default: those that the system
    /// believes]
    #[arg(long, env = "VOD_CA", value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Go through this proxy, but to servers that no_proxy names [default: as http_proxy, https_proxy and all_proxy say]
    #[arg(long, value_name = "URL")]
    proxy: Option<String>,

    /// Go through no proxy, whatever the environment says
    #[arg(long, conflicts_with = "proxy")]
    no_proxy: bool,

    /// Send this header with every request; @FILE: the headers in this file, one a line, as secrets must; nobody
    /// else may read it
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,

    /// How long a connection may take, proxy and TLS included
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = values::duration)]
    connect_timeout: Duration,
}

impl ConnectionArgs {
    /// Puts them into the options of an upload.
    pub(super) fn apply(self, options: Options) -> Result<Options, ConfigError> {
        let headers = headers(&self.headers)?;
        let proxies = match self.proxy {
            _ if self.no_proxy => Proxies::default(),
            Some(url) => {
                if url.contains('@') {
                    let why = "an argument with a password can be read by every process of the machine: put the URL \
                               into the environment variable http_proxy or https_proxy";
                    return Err(ConfigError::Proxy { which: "--proxy".to_owned(), why: why.to_owned() });
                }
                Proxies::from_env()?.replaced(&url)?
            }
            None => Proxies::from_env()?,
        };
        let trust = self.ca.map_or_else(|| Ok(Trust::system()), Trust::only_file)?;
        Ok(Options { trust, proxies, headers, connect_timeout: self.connect_timeout, ..options })
    }
}

fn headers(arguments: &[String]) -> Result<Headers, ConfigError> {
    let mut headers = Headers::default();
    for argument in arguments {
        if let Some(path) = argument.strip_prefix('@') {
            for line in private_text("--header", path.as_ref())?.lines().filter(|line| !line.trim().is_empty()) {
                headers = headers.with_line(line)?;
            }
        } else if looks_secret(argument) {
            let name = argument.split(':').next().unwrap_or_default().to_owned();
            let why = "an argument can be read by every process of the machine: write this header into a file, and say \
                       --header @FILE";
            return Err(ConfigError::Header { name, why: why.to_owned() });
        } else {
            headers = headers.with_line(argument)?;
        }
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: ConnectionArgs,
    }

    fn parse(line: &[&str]) -> Result<Options, String> {
        let line = Line::try_parse_from([&["upload"], line].concat()).map_err(|error| error.to_string())?;
        line.args.apply(Options::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_flag_is_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "Authorization: Bearer s3cret\n\nX-C: 3\n").unwrap();
        let from_file = format!("@{}", file.path().display());
        let line = ["--proxy", "p:3128", "--header", "X-A: 1", "--header", &from_file, "--connect-timeout", "2s"];
        let options = parse(&line).unwrap();
        let expected = Headers::default().with("X-A", "1").unwrap();
        let expected = expected.with("authorization", "Bearer s3cret").unwrap().with("x-c", "3").unwrap();
        assert_eq!((options.headers, options.connect_timeout), (expected, Duration::from_secs(2)));
        let server = ::http::Uri::from_static("http://example.com");
        assert_eq!(options.proxies.to(&server).unwrap().unwrap().uri, "http://p:3128/");
        assert_eq!(parse(&["--no-proxy"]).unwrap().proxies, Proxies::default());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(0o644)).unwrap();
            let error = parse(&line).unwrap_err();
            assert!(error.contains("others can read (mode 644)") && !error.contains("s3cret"), "{error}");
        }
        assert!(parse(&["--no-proxy", "--proxy", "http://p"]).unwrap_err().contains("cannot be used with"));
        assert!(parse(&["--ca", "/nowhere"]).unwrap_err().starts_with("trust in /nowhere: "));
        assert!(
            parse(&["--header", "@/nowhere"]).unwrap_err().starts_with("--header is /nowhere, which cannot be read")
        );
    }

    #[test]
    fn no_secret_is_an_argument() {
        let refused = |line: &[&str]| {
            let error = parse(line).unwrap_err();
            assert!(error.contains("can be read by every process") && !error.contains("s3cret"), "{error}");
        };
        refused(&["--header", "Authorization: s3cret"]);
        refused(&["--header", "X-Who: Bearer s3cret"]);
        refused(&["--proxy", "http://me:s3cret@p:3128"]);
    }
}
