//! `pktmeta where`

use crate::{
    command::{Run, Scratch, pktmeta},
    json::Shape,
};
use pktmeta_testkit::{netns::Netns, sandbox::in_sandbox};
use serde_json::Value;
use std::{os::unix::fs::symlink, process::Command};

/// The survey as a user starts it, who is in no sandbox.
fn survey(arguments: &[&str]) -> Command {
    let mut survey = pktmeta(&Netns::current().unwrap(), &["where"]);
    survey.args(arguments).env_remove("PKTMETA_SANDBOX");
    survey
}

#[test]
fn where_shows_in_order_what_became_of_records_on_a_path() {
    in_sandbox(|_| {
        let said = survey(&["--path", "redirect, XDP", "--json"])
            .ran()
            .succeeds();
        let json: Value = serde_json::from_str(&said).unwrap();
        let path = &json["paths"][0];
        assert_eq!(path["path"], "redirect, XDP");
        let stops = path["stops"].as_array().unwrap();
        let hooks: Vec<_> = stops
            .iter()
            .map(|stop| stop["hook"].as_str().unwrap())
            .collect();
        let at_sockets = ["udp, ring", "udp, ticket", "tcp, syn", "tcp, segment"];
        assert_eq!(hooks[..3], ["xdp", "xdp", "tc ingress"]);
        assert_eq!(hooks[3..], at_sockets);
        for stop in stops {
            assert_eq!(stop["fate"], "intact", "{stop:#}");
            assert_eq!(stop["looks"], stop["right"], "{stop:#}");
        }
    });
}

#[test]
fn where_a_record_is_lost_the_reason_and_the_remedy_stand_below() {
    in_sandbox(|_| {
        let said = survey(&["--path", "bridged, tag in frame"])
            .ran()
            .succeeds();
        for words in [
            "xdp+ in+ out+",
            "ring- ticket- syn- segment-",
            "lost     __vlan_hwaccel_push_inside",
            "instead  let the device put tags into frames: ethtool -K DEVICE txvlan on",
        ] {
            assert!(said.contains(words), "{words}\n{said}");
        }
    });
}

#[test]
fn a_tool_that_is_not_there_is_named_with_its_package() {
    in_sandbox(|_| {
        let tools = Scratch::new();
        symlink("/bin/mount", tools.path().join("mount")).unwrap();
        let mut survey = survey(&["--path", "bridged"]);
        let ran = survey.env("PATH", tools.path()).ran();
        ran.fails(&["start ip: No such file", "= install iproute2"]);
    });
}

#[test]
fn the_page_of_a_survey_is_one_file_with_a_box_for_each_stop() {
    in_sandbox(|_| {
        let said = survey(&["--path", "forged by a container", "--html"])
            .ran()
            .succeeds();
        assert!(said.starts_with("<!doctype html>") && said.ends_with("</html>\n"));
        assert_eq!(said.matches("<span class=gone title=").count(), 5, "{said}");
        for elsewhere in ["http", "<script", "src="] {
            assert!(!said.contains(elsewhere), "{elsewhere}\n{said}");
        }
    });
}

#[test]
fn what_a_survey_prints_has_the_documented_shape_whether_the_kernel_has_a_path_or_not() {
    in_sandbox(|_| {
        let shape = Shape::documented("where");
        for path in ["forged by a container", "from a VLAN"] {
            let mut survey = survey(&["--packets", "50", "--path", path, "--json"]);
            shape.check(&serde_json::from_str(&survey.ran().succeeds()).unwrap());
        }
    });
}

#[test]
fn a_name_of_no_path_is_an_error_that_says_how_to_see_them() {
    in_sandbox(|_| {
        let ran = survey(&["--path", "nowhere"]).ran();
        ran.fails(&["\"nowhere\": there is none", "without --path"]);
    });
}
