//! `tally-server`: serves the summary of a log over HTTP.

use std::{fs, path::PathBuf};

use anyhow::{anyhow, Context, Result};
use clap::Parser;
use serde::Deserialize;
use tally::{Log, Summary, FEATURES, TARGET};
use tiny_http::{Header, Method, Request, Response, Server};

/// Serves the summary of a harbour's tide log over HTTP.
#[derive(Parser)]
#[command(name = "tally-server", version)]
struct Args {
    /// The configuration file.
    #[arg(long, env = "TALLY_CONFIG")]
    config: Option<PathBuf>,
    /// The address to listen on.
    #[arg(long, env = "TALLY_LISTEN")]
    listen: Option<String>,
    /// Answer one request, then end.
    #[arg(long)]
    once: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    listen: Option<String>,
    log: Option<PathBuf>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let config = match &args.config {
        Some(path) => {
            let text =
                fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
            toml::from_str(&text).with_context(|| format!("parse {}", path.display()))?
        }
        None => Config::default(),
    };
    let listen = args
        .listen
        .or(config.listen)
        .unwrap_or_else(|| "127.0.0.1:8080".to_string());
    let server = Server::http(&listen).map_err(|err| anyhow!("listen on {listen}: {err}"))?;
    println!("listening on {}", server.server_addr());
    for request in server.incoming_requests() {
        answer(request, config.log.as_ref())?;
        if args.once {
            break;
        }
    }
    Ok(())
}

fn answer(request: Request, log: Option<&PathBuf>) -> Result<()> {
    let path = request.url().to_string();
    let (status, body) = match (request.method(), path.as_str()) {
        (Method::Get, "/healthz") => (200, serde_json::json!({ "status": "ok" })),
        (Method::Head, "/healthz") => (200, serde_json::json!({ "status": "ok" })),
        (Method::Get, "/info") => (
            200,
            serde_json::json!({ "target": TARGET, "features": FEATURES }),
        ),
        (Method::Get, "/summary") => {
            match log.map_or_else(|| Ok(Log::default()), |path| Log::open(path)) {
                Ok(log) => (200, serde_json::to_value(Summary::of(&log.entries))?),
                Err(err) => (500, serde_json::json!({ "error": format!("{err:#}") })),
            }
        }
        (Method::Get, _) => (404, serde_json::json!({ "error": "not found" })),
        _ => (405, serde_json::json!({ "error": "method not allowed" })),
    };
    let json = Header::from_bytes("Content-Type", "application/json").expect("a constant header");
    let response = Response::from_string(body.to_string())
        .with_status_code(status)
        .with_header(json);
    // A client that has gone away is no reason to stop.
    let _ = request.respond(response);
    Ok(())
}
