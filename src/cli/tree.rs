//! `dm-gateway tree [URI]`: the management tree.

use crate::cli::client::{Call, Stop};
use crate::cli::definition::{self, ASKING, Command, Given, Kind, Operand, PRINTING, Times};
use crate::cli::table::Table;
use crate::control::{Nodes, Request};
use crate::gateway::management::NodeView;

/// `tree`.
pub const COMMAND: Command = Command {
    name: "tree",
    summary: "the management tree that DM servers see, with secrets masked",
    operands: &[Operand {
        name: "URI",
        text: "from where down (default: all of it, `.`)",
        times: Times::Optional,
        kind: Kind::Text,
    }],
    options: &[ASKING, PRINTING],
    exits: &[(1, "there is no such node")],
    examples: &[("dm-gateway tree ./DMAcc", "the accounts with DM servers")],
    run: Some(tree),
    ..definition::COMMAND
};

fn tree(given: Given) -> Result<u8, Stop> {
    let call = Call::of(&given);
    let uri = call.operands.first().map_or(".", String::as_str).to_owned();
    let answer = call.ask_for::<Nodes>(&Request::Tree { uri })?;
    call.print(&answer, |answer| table(&answer.nodes))?;
    Ok(0)
}

fn table(nodes: &[NodeView]) -> String {
    let mut table = Table::new(&["URI", "FORMAT", "VALUE"]);
    for node in nodes {
        let value = match &node.value {
            Some(value) => value.as_str(),
            None => node.kind.as_str(),
        };
        let value = if node.locked { format!("{value} (locked)") } else { value.to_owned() };
        table.row([node.uri.as_str(), &node.format, &value]);
    }
    table.render()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interior_nodes_tell_their_object_leaves_their_value() {
        let node = |uri: &str, format: &str, kind: &str, value: Option<&str>| NodeView {
            uri: uri.into(),
            format: format.into(),
            kind: kind.into(),
            value: value.map(Into::into),
            locked: false,
        };
        let nodes = [
            node("./DevInfo", "node", "urn:oma:mo:oma-dm-devinfo:1.0", None),
            node("./DevInfo/DevId", "chr", "text/plain", Some("gw")),
        ];
        let text = table(&nodes);
        assert!(text.contains("urn:oma:mo:oma-dm-devinfo:1.0"), "{text}");
        assert!(text.lines().last().unwrap().ends_with("gw"), "{text}");
    }
}
