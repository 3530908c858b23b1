//! `/stats?format=html`: the text form as a page; `active-html` loads itself anew.

use super::home::{HEAD, TAIL, escaped};
use crate::response::{AdminResponse, HTML};

/// Seconds between two loads of the active page.
const RELOAD_SECONDS: u32 = 5;

/// A page around the text of `/stats`.
pub(super) fn page(text: &str, active: bool) -> AdminResponse {
    let head = if active {
        let reload = format!("<meta http-equiv=\"refresh\" content=\"{RELOAD_SECONDS}\">\n</head>");
        HEAD.replace("</head>", &reload)
    } else {
        HEAD.to_owned()
    };
    let page = format!(
        "{head}<h1>Statistics</h1>\n<form>
<input type=\"hidden\" name=\"format\" value=\"{}\">
<label>Filter <input name=\"filter\"></label>
<label><input type=\"checkbox\" name=\"usedonly\"> used only</label>
<button>Show</button>
</form>\n<pre>{}</pre>\n{TAIL}",
        if active { "active-html" } else { "html" },
        escaped(text)
    );
    AdminResponse::text(page).with_type(HTML)
}
