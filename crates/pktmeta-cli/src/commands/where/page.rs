//! The survey as a page: one file, without scripts or anything from elsewhere.

use super::names::{FateName, fate, hook, loses};
use pktmeta_paths::{Fate, Seen, Survey, Surveyed};

/// The page.
pub(super) fn of(survey: &Survey, captured: bool) -> String {
    let offered = survey.paths.iter().filter(|path| path.stops.is_ok());
    let rows: String = offered.map(row).collect();
    let missing = survey.paths.iter().filter_map(|path| {
        let why = path.stops.as_ref().err()?;
        Some(format!(
            "<li><b>{}</b> {}</li>\n",
            escaped(path.name),
            escaped(why)
        ))
    });
    let missing: String = missing.collect();
    let how = if captured {
        ", with a packet socket open on every host"
    } else {
        ""
    };
    let packets = survey.packets;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = escaped(kernel.trim());
    let mut page = String::from(HEAD);
    page += &format!(
        "<h1>Where records are kept</h1>\n\
         <p>Linux {kernel}, {packets} packets{how}. Each packet has values of its own; each box is \
         a look at all of them.</p>\n"
    );
    page += LEGEND;
    page += &format!("<table>\n{rows}</table>\n");
    if !missing.is_empty() {
        page += &format!("<h2>Not on this kernel</h2>\n<ul>\n{missing}</ul>\n");
    }
    page + "</body>\n</html>\n"
}

fn row(path: &Surveyed) -> String {
    let stops = path.stops.as_deref().unwrap_or_default();
    let mut way = String::new();
    let mut host = stops.first().and_then(|seen| seen.host);
    for seen in stops {
        if seen.host != host {
            way += "<i>&rarr;</i>";
            host = seen.host;
        }
        way += &stop(seen);
    }
    let mut notes = String::new();
    if !path.ours {
        notes = "<p>Forged: gone is right.</p>".into();
    }
    if let Some(loss) = path.loss.filter(|_| loses(stops)) {
        let (why, remedy) = (escaped(loss.why), escaped(loss.remedy));
        notes += &format!("<p>Lost: {why}.<br>Instead: {remedy}.</p>");
    }
    let name = escaped(path.name);
    format!("<tr><th>{name}</th><td>{way}{notes}</td></tr>\n")
}

fn stop(seen: &Seen) -> String {
    let device = seen.device.as_deref().unwrap_or("socket");
    let title = format!(
        "{}, {device}: {} of {} right",
        seen.host.unwrap_or("application"),
        seen.intact(),
        seen.looks()
    );
    let FateName { word, class, .. } = fate(seen.fate());
    let share = match seen.fate() {
        Fate::Partly => format!(" {}%", 100 * seen.intact() / seen.looks().max(1)),
        _ => String::new(),
    };
    let (title, hook) = (escaped(&title), hook(seen.hook).long);
    format!("<span class={class} title=\"{title}\">{hook}<br><b>{word}{share}</b></span>")
}

fn escaped(text: &str) -> String {
    let escape = |letter: char| match letter {
        '&' => "&amp;".into(),
        '<' => "&lt;".into(),
        '>' => "&gt;".into(),
        '"' => "&quot;".into(),
        other => other.to_string(),
    };
    text.chars().map(escape).collect()
}

const HEAD: &str = "\
<!doctype html>
<html lang=en>
<head>
<meta charset=utf-8>
<meta name=viewport content=\"width=device-width, initial-scale=1\">
<title>pktmeta where</title>
<style>
:root { color-scheme: light dark; --line: #8884; --intact: #1a7f37; --only: #8250df;
  --partly: #9a6700; --gone: #6e7781; --wrong: #cf222e }
@media (prefers-color-scheme: dark) { :root { --intact: #3fb950; --only: #bc8cff;
  --partly: #d29922; --gone: #8b949e; --wrong: #ff7b72 } }
body { font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem }
table { border-collapse: collapse; width: 100% }
th { text-align: left; font-weight: 600; white-space: nowrap; padding-right: 1rem }
th, td { border-top: 1px solid var(--line); padding-block: .4rem; vertical-align: top }
td p { margin: .3rem 0 0; font-size: 13px; opacity: .8 }
td i { font-style: normal; margin: 0 .4rem }
span { display: inline-block; border: 1px solid; border-left-width: 4px; border-radius: 4px;
  padding: .1rem .5rem; margin: 0 .3rem .3rem 0; font-size: 12px }
.intact { border-color: var(--intact) } .intact b { color: var(--intact) }
.only { border-color: var(--only) } .only b { color: var(--only) }
.partly { border-color: var(--partly) } .partly b { color: var(--partly) }
.gone { border-color: var(--gone); border-style: dashed } .gone b { color: var(--gone) }
.wrong { border-color: var(--wrong) } .wrong b { color: var(--wrong) }
li { margin: .2rem 0; overflow-wrap: anywhere }
@media (max-width: 40rem) { th, td { display: block; border: 0 } th { padding-top: .6rem } }
</style>
</head>
<body>
";

const LEGEND: &str = "\
<p><span class=intact><b>intact</b></span><span class=only><b>read-only</b></span>\
<span class=partly><b>partly</b></span><span class=gone><b>gone</b></span>\
<span class=wrong><b>WRONG</b></span> &rarr; to the next host, to the application</p>
";
