//! Asks whoever started this process to kill: a line of JSON on stdout, an answer on stdin.

use std::{
    future::Future,
    io::{BufRead as _, Write as _},
    pin::Pin,
};

use tokio::sync::{Mutex, mpsc};

use crate::{KillTarget, Killer};

/// Speaks `{"kill":"client","fault":"crash"}` on stdout and waits for `{"killed":"client"}` on stdin.
pub struct StdioKiller {
    /// One kill at a time: answers carry no number.
    answers: Mutex<mpsc::UnboundedReceiver<String>>,
}

impl StdioKiller {
    /// From now on stdin is read, by nobody else.
    #[must_use]
    pub fn start() -> Self {
        let (lines, answers) = mpsc::unbounded_channel();
        // Reading stdin blocks, and cannot be given up: it gets a thread of its own, which ends with the process.
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines().map_while(Result::ok) {
                if lines.send(line).is_err() {
                    break;
                }
            }
        });
        Self { answers: Mutex::new(answers) }
    }
}

impl Killer for StdioKiller {
    fn kill<'a>(&'a self, target: KillTarget, fault: &'a str) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(async move {
            let mut answers = self.answers.lock().await;
            let asked = serde_json::json!({ "kill": target, "fault": fault });
            let said = writeln!(std::io::stdout(), "{asked}");
            let expected = serde_json::json!({ "killed": target });
            if said.is_ok() {
                while let Some(line) = answers.recv().await {
                    match serde_json::from_str::<serde_json::Value>(&line) {
                        Ok(answer) if answer == expected => return,
                        _ => tracing::warn!(line, "expected {expected} on stdin"),
                    }
                }
            }
            tracing::error!(%target, fault, "nobody answers the request to kill: what it struck stays held");
            // The evidence says killed, so nothing may come of it any more.
            std::future::pending::<()>().await;
        })
    }
}
