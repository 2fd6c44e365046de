//! Types that cannot grow without breaking their users.

use serde_json::Value;

/// The public enums, and structs whose fields are all public, that are neither `#[non_exhaustive]`
/// nor say why in their documentation, in a sentence that starts with "Exhaustive".
pub(crate) fn without_reason(rustdoc: &Value) -> Vec<&str> {
    let items = rustdoc["index"].as_object().into_iter().flatten();
    let unexplained = items.filter(|(_, item)| {
        item["crate_id"] == 0
            && item["visibility"] == "public"
            && is_complete(&item["inner"])
            && !item["attrs"].to_string().contains("non_exhaustive")
            && !item["docs"]
                .as_str()
                .unwrap_or_default()
                .contains("Exhaustive")
    });
    let mut names: Vec<_> = unexplained
        .filter_map(|(_, item)| item["name"].as_str())
        .collect();
    names.sort_unstable();
    names
}

/// True of an item that others could match or build whole.
fn is_complete(inner: &Value) -> bool {
    let kind = &inner["struct"]["kind"];
    let named = &kind["plain"];
    let tuple = kind["tuple"].as_array();
    inner["enum"].is_object()
        || named["has_stripped_fields"] == false && named["fields"] != Value::Array(Vec::new())
        || tuple.is_some_and(|fields| !fields.is_empty() && !fields.contains(&Value::Null))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_type_that_cannot_grow_needs_a_reason() {
        let item = |name: &str, docs: &str, attrs: Value, inner: Value| {
            json!({
                "crate_id": 0, "name": name, "visibility": "public", "docs": docs,
                "attrs": attrs, "inner": inner,
            })
        };
        let fields = |stripped: bool| {
            json!({ "struct": { "kind": { "plain": {
                "fields": [1], "has_stripped_fields": stripped,
            } } } })
        };
        let tuple = |field: Value| json!({ "struct": { "kind": { "tuple": [field] } } });
        let grows = json!(["non_exhaustive"]);
        let rustdoc = json!({ "index": {
            "0": item("Enum", "Some.", json!([]), json!({ "enum": {} })),
            "1": item("Growing", "Some.", grows, json!({ "enum": {} })),
            "2": item("Told", "Exhaustive: two bits.", json!([]), json!({ "enum": {} })),
            "3": item("Open", "Some.", json!([]), fields(false)),
            "4": item("Closed", "Some.", json!([]), fields(true)),
            "5": item("Number", "Some.", json!([]), tuple(json!(7))),
            "6": item("Handle", "Some.", json!([]), tuple(Value::Null)),
            "7": item("Unit", "Some.", json!([]), json!({ "struct": { "kind": "unit" } })),
            "8": item("run", "Some.", json!([]), json!({ "function": {} })),
        } });
        assert_eq!(without_reason(&rustdoc), ["Enum", "Number", "Open"]);
    }
}
