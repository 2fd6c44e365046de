//! `pktmeta label`

use crate::{
    command::{Scratch, text},
    lab::{INTERFACE, Lab, SCHEMA},
};
use pktmeta_testkit::sandbox::{Sandbox, in_sandbox};

/// Brings the lab's interface up with these labels and no others.
fn up(sandbox: &Sandbox, lab: &Lab, labels: &[&str]) {
    let cgroup = text(sandbox.cgroup());
    let up = [
        "up", "--iface", INTERFACE, "--cgroup", &cgroup, "--schema", SCHEMA,
    ];
    lab.pktmeta(&[&up, labels].concat()).succeeds();
}

#[test]
fn labels_are_listed_added_removed_and_replaced_while_the_datapath_is_up() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let scratch = Scratch::new();
        up(sandbox, &lab, &["--label", "192.0.2.0/24=tenant:7"]);
        let label = |arguments: &[&str]| lab.pktmeta(&[&["label"], arguments].concat());
        let list = || label(&["list"]).succeeds();
        assert_eq!(list(), "192.0.2.0/24=tenant:7\n");
        let added = label(&["add", "192.0.2.128/25=tenant:8", "2001:db8::/32=tenant:9"]);
        let said = format!("{INTERFACE}: 2 prefixes added, 0 changed, 0 removed; 3 have labels\n");
        assert_eq!(added.succeeds(), said);
        label(&["del", "192.0.2.0/24", "2001:db8::/32=tenant"]).succeeds();
        assert_eq!(list(), "192.0.2.128/25=tenant:8\n");
        // What is listed is what replace takes.
        let file = scratch.file("labels", format!("# all of them\n{}", list()));
        let replaced = label(&["replace", "0.0.0.0/0=tenant:1", "--labels", &file]).succeeds();
        assert!(
            replaced.contains("1 prefixes added, 0 changed, 0 removed"),
            "{replaced}"
        );
        assert_eq!(list(), "0.0.0.0/0=tenant:1\n192.0.2.128/25=tenant:8\n");

        label(&["del", "198.51.100.0/24"]).fails(&["no such label", "pktmeta label list"]);
        label(&["add", "192.0.2.0/24=tenant:many"]).fails(&["is no value for tenant"]);
        label(&["list", "--iface", "nowhere"]).fails(&["nowhere", "ip link"]);
        assert_eq!(list(), "0.0.0.0/0=tenant:1\n192.0.2.128/25=tenant:8\n");
    });
}

#[test]
fn what_came_up_without_labels_or_without_room_says_how_it_can_have_some() {
    in_sandbox(|sandbox| {
        let lab = Lab::new(sandbox);
        let scratch = Scratch::new();
        lab.pktmeta(&["label", "list"])
            .fails(&["labels no packets", "pktmeta up"]);
        up(sandbox, &lab, &[]);
        let add = ["label", "add", "192.0.2.0/24=tenant:7"];
        lab.pktmeta(&add)
            .fails(&["came up without labels", "an empty file"]);
        lab.down();

        let none = scratch.file("labels", "# none yet\n");
        up(sandbox, &lab, &["--labels", &none]);
        lab.pktmeta(&add).succeeds();
        let wide = "owner = \"late\"\n[[field]]\nname = \"late\"\ntype = \"bytes[16]\"\n";
        let wide = scratch.file("late.toml", wide);
        lab.pktmeta(&["registry", "register", &wide]).succeeds();
        let late = [
            "label",
            "add",
            "192.0.2.0/24=late:00112233445566778899aabbccddeeff",
        ];
        lab.pktmeta(&late).fails(&["no room", "make a larger area"]);
        let listed = lab.pktmeta(&["label", "list"]).succeeds();
        assert_eq!(listed, "192.0.2.0/24=tenant:7\n");
    });
}
