//! The programs: what authors write, at each hook, with one field to all that fit.

use pktmeta_core::{Registry, schema::Schema};
use std::fmt::Write as _;

/// Where programs attach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    Xdp,
    Tc,
    Egress,
    CgroupSkb,
    SkReuseport,
    Sockops,
    Netfilter,
}

impl Hook {
    pub(crate) const ALL: [Self; 7] = [
        Self::Xdp,
        Self::Tc,
        Self::Egress,
        Self::CgroupSkb,
        Self::SkReuseport,
        Self::Sockops,
        Self::Netfilter,
    ];

    fn section(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Tc => "tc",
            Self::Egress => "tcx/egress",
            Self::CgroupSkb => "cgroup_skb/ingress",
            Self::SkReuseport => "sk_reuseport",
            Self::Sockops => "sockops",
            Self::Netfilter => "netfilter",
        }
    }

    fn context(self) -> &'static str {
        match self {
            Self::Xdp => "struct xdp_md",
            Self::Tc | Self::Egress | Self::CgroupSkb => "struct __sk_buff",
            Self::SkReuseport => "struct sk_reuseport_md",
            Self::Sockops => "struct bpf_sock_ops",
            Self::Netfilter => "struct bpf_nf_ctx",
        }
    }

    fn header(self) -> &'static str {
        match self {
            Self::Egress => "sent.bpf.h",
            _ => "pktmeta.bpf.h",
        }
    }

    fn verdicts(self) -> [&'static str; 2] {
        match self {
            Self::Xdp => ["XDP_PASS", "XDP_DROP"],
            Self::Tc | Self::Egress => ["TCX_NEXT", "TCX_DROP"],
            Self::SkReuseport => ["SK_PASS", "SK_DROP"],
            Self::CgroupSkb | Self::Sockops | Self::Netfilter => ["1", "0"],
        }
    }

    fn writes(self) -> bool {
        matches!(self, Self::Xdp | Self::Tc)
    }

    /// Whether its context leads to the packet's bytes.
    fn has_data(self) -> bool {
        !matches!(self, Self::Sockops | Self::Netfilter)
    }
}

/// Where the types of the kernel come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Types {
    /// `linux/*.h`, as distributions install them.
    Linux,
    /// The running kernel's BTF.
    Vmlinux,
}

impl Types {
    pub(crate) const ALL: [Self; 2] = [Self::Linux, Self::Vmlinux];
}

/// A C file with all programs of a hook, and their names.
pub(crate) fn source(hook: Hook, types: Types) -> (String, Vec<String>) {
    let mut source = match types {
        Types::Vmlinux => "#include \"vmlinux.h\"\n".to_owned(),
        Types::Linux => String::new(),
    };
    let _ = writeln!(source, "#include <pktmeta/{}>", hook.header());
    if types == Types::Linux {
        source += "#include <linux/if_ether.h>\n#include <linux/ip.h>\n#include <linux/tcp.h>\n\
                   #include <linux/ipv6.h>\n#include <linux/udp.h>\n#include <linux/in.h>\n";
    }
    source += "#include <bpf/bpf_endian.h>\n";
    for field in FIELDS {
        source += &match field.kind {
            "flag" => format!("PKTMETA_FIELD_FLAG({});\n", field.name),
            "bytes[16]" => format!("PKTMETA_FIELD({}, struct shape_key);\n", field.name),
            "bytes[..20]" => format!("PKTMETA_FIELD_BYTES({}, 20);\n", field.name),
            kind => format!("PKTMETA_FIELD({}, __{kind});\n", field.name),
        };
        if field.name == "mode" {
            source += "struct shape_key { __u8 bytes[16]; };\n";
        }
    }
    for number in 0..NUMBERED {
        let _ = writeln!(source, "PKTMETA_FIELD(f{number}, {});", c_type(number));
    }
    source += HELPERS;
    let [pass, drop] = hook.verdicts();
    let mut shapes = reading();
    shapes.retain(|(_, body)| hook.has_data() || !body.contains("ctx->data"));
    if hook.writes() {
        shapes.extend(writing());
    }
    if hook == Hook::Xdp {
        shapes.extend(at_xdp());
    }
    for (name, body) in &shapes {
        let _ = writeln!(
            source,
            "SEC(\"{}\") int {name}({} *ctx)\n{{\n{body}\n}}\n",
            hook.section(),
            hook.context(),
        );
    }
    source += "char LICENSE[] SEC(\"license\") = \"GPL\";\n";
    let mut source = source.replace("CONTEXT", hook.context());
    if hook == Hook::Egress {
        source = source
            .replace("pktmeta_get(", "pktmeta_get_sent(")
            .replace("pktmeta_has_record(", "pktmeta_has_sent(");
    }
    (
        source.replace("PASS", pass).replace("DROP", drop),
        shapes.into_iter().map(|(name, _)| name).collect(),
    )
}

/// The fields of [`source`].
pub(crate) fn registry() -> Registry {
    let mut schema = "owner = \"shapes\"\n".to_owned();
    let mut add = |name: &str, kind: &str, hot: bool| {
        let _ = write!(
            schema,
            "[[field]]\nname = \"{name}\"\ntype = \"{kind}\"\nhot = {hot}\n\
             writers = [\"xdp\", \"tc\", \"app\"]\n"
        );
    };
    for field in FIELDS {
        add(field.name, field.kind, field.hot);
    }
    for number in 0..NUMBERED {
        add(
            &format!("f{number}"),
            c_type(number).trim_start_matches('_'),
            number % 3 == 0,
        );
    }
    let schema = Schema::parse("shapes.toml", &schema).unwrap();
    Schema::registry([&schema]).unwrap()
}

struct Field {
    name: &'static str,
    kind: &'static str,
    hot: bool,
}

const fn field(name: &'static str, kind: &'static str, hot: bool) -> Field {
    Field { name, kind, hot }
}

/// One of each kind, hot and cold.
const FIELDS: [Field; 8] = [
    field("mode", "u8", true),
    field("zone", "u16", false),
    field("tenant", "u32", true),
    field("rule", "u32", false),
    field("trace", "u64", false),
    field("urgent", "flag", false),
    field("key", "bytes[16]", false),
    field("note", "bytes[..20]", false),
];

/// And many more for those who use many: `f0` and so on.
const NUMBERED: usize = 40;

fn c_type(number: usize) -> &'static str {
    match number % 10 {
        0..6 => "__u8",
        6..9 => "__u16",
        _ => "__u32",
    }
}

/// What programs call, or look into.
const HELPERS: &str = r#"
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct { __u32 tenant; struct shape_key key; __u64 seen; });
} scratch SEC(".maps");

__u64 total;
const volatile __u32 wanted = 9;

static __always_inline int is_wanted(CONTEXT *ctx)
{
	__u32 t;

	return !pktmeta_get(ctx, tenant, &t) && t == wanted;
}

static __noinline __u32 tenant_or(CONTEXT *ctx, __u32 other)
{
	__u32 t;

	return pktmeta_get(ctx, tenant, &t) ? other : t;
}

__noinline int judge(CONTEXT *ctx, int limit)
{
	__u16 z;
	__u8 m;

	if (pktmeta_get(ctx, zone, &z) || pktmeta_get(ctx, mode, &m))
		return -1;
	return z > limit ? m : z;
}
"#;

type Shapes = Vec<(String, String)>;

fn shape(shapes: &mut Shapes, name: &str, body: impl Into<String>) {
    shapes.push((name.into(), body.into()));
}

/// How many fields series have.
const SERIES: [usize; 6] = [1, 2, 4, 8, 20, NUMBERED];

fn reading() -> Shapes {
    let mut shapes = Shapes::new();
    for (field, value) in [
        ("mode", "__u8"),
        ("zone", "__u16"),
        ("tenant", "__u32"),
        ("rule", "__u32"),
        ("trace", "__u64"),
    ] {
        shape(
            &mut shapes,
            &format!("get_{field}"),
            format!(
                "\t{value} v;\n\n\treturn !pktmeta_get(ctx, {field}, &v) && v == 9 ? DROP : PASS;"
            ),
        );
    }
    for (name, body) in [
        (
            "get_flag",
            "\tstruct pktmeta_flag none;\n\n\treturn pktmeta_get(ctx, urgent, &none) ? PASS : \
             DROP;",
        ),
        (
            "get_key",
            "\tstruct shape_key k;\n\n\treturn !pktmeta_get(ctx, key, &k) && k.bytes[3] == 9 ? \
             DROP : PASS;",
        ),
        (
            "get_note",
            "\tstruct pktmeta_value_of_note n;\n\n\
             \tif (pktmeta_get(ctx, note, &n))\n\t\treturn PASS;\n\
             \treturn n.size > 2 && n.bytes[1] == 'x' ? DROP : PASS;",
        ),
        (
            "has_record",
            "\treturn pktmeta_has_record(ctx) ? PASS : DROP;",
        ),
        (
            "has_record_then_get",
            "\t__u32 t;\n\n\tif (!pktmeta_has_record(ctx))\n\t\treturn PASS;\n\
             \treturn !pktmeta_get(ctx, tenant, &t) && t > 5 ? DROP : PASS;",
        ),
        (
            "calls_in_arguments_of_each_other",
            "\t__u32 t, *to = &t;\n\t__u16 z;\n\n\
             \tif (pktmeta_get(ctx, tenant, pktmeta_get(ctx, zone, &z) ? to : &t))\n\
             \t\treturn PASS;\n\treturn t == 9 && *to == t ? DROP : PASS;",
        ),
        (
            "by_error",
            "\t__u32 t;\n\tlong err = pktmeta_get(ctx, rule, &t);\n\n\
             \tif (err == -PKTMETA_ENODATA)\n\t\treturn PASS;\n\
             \tif (err)\n\t\treturn DROP;\n\treturn t & 1 ? DROP : PASS;",
        ),
        (
            "value_whatever_the_error",
            "\t__u32 t;\n\n\tpktmeta_get(ctx, rule, &t);\n\treturn t == 9 ? DROP : PASS;",
        ),
        (
            "value_in_a_ternary",
            "\t__u32 t;\n\n\treturn (pktmeta_get(ctx, tenant, &t) ? 0 : t * 3) > 27 ? DROP : PASS;",
        ),
        (
            "both",
            "\t__u32 t, r;\n\n\treturn !pktmeta_get(ctx, tenant, &t) && !pktmeta_get(ctx, rule, \
             &r) &&\n\
             \t\t\tt == r ? DROP : PASS;",
        ),
        (
            "either",
            "\t__u32 t, r;\n\n\tif (!pktmeta_get(ctx, tenant, &t) || !pktmeta_get(ctx, rule, &r))\n\
             \t\treturn t == 9 ? DROP : PASS;\n\treturn PASS;",
        ),
        (
            "nested",
            "\t__u16 z;\n\t__u32 t;\n\t__u64 x;\n\n\tif (!pktmeta_get(ctx, zone, &z))\n\
             \t\tif (z > 3 && !pktmeta_get(ctx, tenant, &t))\n\
             \t\t\tif (t < 100 && !pktmeta_get(ctx, trace, &x))\n\
             \t\t\t\treturn x ^ z ^ t ? PASS : DROP;\n\treturn PASS;",
        ),
        (
            "switch_on_it",
            "\t__u8 m;\n\n\tif (pktmeta_get(ctx, mode, &m))\n\t\treturn PASS;\n\tswitch (m) {\n\
             \tcase 0:\n\t\treturn PASS;\n\tcase 1:\n\tcase 7:\n\t\treturn DROP;\n\
             \tdefault:\n\t\ttotal += m;\n\t}\n\treturn PASS;",
        ),
        (
            "index_by_it",
            "\tstatic const __u8 table[8] = { 1, 0, 3, 0, 5, 0, 7, 0 };\n\t__u8 m;\n\n\
             \tif (pktmeta_get(ctx, mode, &m) || m >= sizeof(table))\n\t\treturn PASS;\n\
             \treturn table[m] ? DROP : PASS;",
        ),
        ("in_a_function", "\treturn is_wanted(ctx) ? DROP : PASS;"),
        (
            "in_a_subprogram",
            "\treturn tenant_or(ctx, 9) == 9 ? DROP : PASS;",
        ),
        (
            "in_a_global_function",
            "\treturn judge(ctx, 500) == 9 ? DROP : PASS;",
        ),
        (
            "as_a_maps_key",
            "\t__u64 *count;\n\t__u32 t;\n\n\tif (pktmeta_get(ctx, tenant, &t))\n\t\treturn PASS;\n\
             \tcount = bpf_map_lookup_elem(&counts, &t);\n\tif (count)\n\
             \t\t__sync_fetch_and_add(count, 1);\n\treturn PASS;",
        ),
        (
            "into_a_maps_value",
            "\t__u32 zero = 0;\n\ttypeof(*(typeof(scratch.value))0) *to = \
             bpf_map_lookup_elem(&scratch, &zero);\n\n\tif (!to)\n\t\treturn PASS;\n\
             \tif (!pktmeta_get(ctx, trace, &to->seen) && !pktmeta_get(ctx, tenant, &to->tenant) \
             &&\n\
             \t    !pktmeta_get(ctx, key, &to->key))\n\t\treturn to->seen ? DROP : PASS;\n\
             \treturn PASS;",
        ),
        (
            "into_a_struct",
            "\tstruct { __u32 t; __u16 z; __u8 m; __u64 x; } all;\n\n\
             \tif (pktmeta_get(ctx, tenant, &all.t) || pktmeta_get(ctx, zone, &all.z) ||\n\
             \t    pktmeta_get(ctx, mode, &all.m) || pktmeta_get(ctx, trace, &all.x))\n\
             \t\treturn PASS;\n\treturn all.t + all.z + all.m + all.x == 9 ? DROP : PASS;",
        ),
        (
            "into_an_array",
            "\t__u32 v[2];\n\n\tpktmeta_get(ctx, tenant, &v[0]);\n\tpktmeta_get(ctx, rule, \
             &v[1]);\n\
             \treturn v[0] == v[1] ? DROP : PASS;",
        ),
        (
            "in_a_loop",
            "\t__u32 t, sum = 0;\n\tint i;\n\n\tfor (i = 0; i < 4; i++)\n\
             \t\tif (!pktmeta_get(ctx, rule, &t))\n\t\t\tsum += t * i;\n\
             \treturn sum == 9 ? DROP : PASS;",
        ),
        (
            "twice",
            "\t__u32 a, b;\n\n\tif (!pktmeta_get(ctx, tenant, &a) && !pktmeta_get(ctx, tenant, \
             &b))\n\
             \t\treturn a == b ? PASS : DROP;\n\treturn PASS;",
        ),
        (
            "into_a_global",
            "\t__u64 x;\n\n\tif (!pktmeta_get(ctx, trace, &x))\n\t\ttotal += x;\n\treturn PASS;",
        ),
        (
            "after_the_headers",
            "\tvoid *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;\n\
             \tstruct ethhdr *eth = data;\n\tstruct iphdr *ip = (void *)(eth + 1);\n\t__u32 t;\n\n\
             \tif ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(0x0800))\n\t\treturn PASS;\n\
             \tif (ip->protocol == 6 && !pktmeta_get(ctx, tenant, &t) && t == ip->saddr)\n\
             \t\treturn DROP;\n\treturn PASS;",
        ),
        (
            "before_the_headers",
            "\tvoid *data, *end;\n\tstruct iphdr *ip;\n\tstruct tcphdr *tcp;\n\t__u16 z;\n\n\
             \tif (pktmeta_get(ctx, zone, &z))\n\t\treturn PASS;\n\
             \tdata = (void *)(long)ctx->data;\n\tend = (void *)(long)ctx->data_end;\n\
             \tip = data + sizeof(struct ethhdr);\n\ttcp = (void *)(ip + 1);\n\
             \tif ((void *)(tcp + 1) > end)\n\t\treturn PASS;\n\
             \treturn tcp->dest == bpf_htons(z) && tcp->syn ? DROP : PASS;",
        ),
    ] {
        shape(&mut shapes, name, body);
    }
    for count in SERIES {
        shape(
            &mut shapes,
            &format!("get_series_{count}"),
            format!("{}\treturn PASS;", gets(count, "return DROP")),
        );
    }
    // Of more the compilers defer all tests to the end, with more ways through them than can be
    // followed.
    for count in [2, 4, 8] {
        let gets = gets(count, "hits++");
        shape(
            &mut shapes,
            &format!("count_series_{count}"),
            format!("\t__u32 hits = 0;\n\n{gets}\treturn hits > 9 ? DROP : PASS;"),
        );
    }
    shapes
}

/// Tests of so many fields, and what to do if a value is found.
fn gets(count: usize, found: &str) -> String {
    let gets = (0..count).map(|number| {
        format!(
            "\t{{\n\t\t{} v;\n\n\t\tif (!pktmeta_get(ctx, f{number}, &v) && v == {number})\n\
             \t\t\t{found};\n\t}}\n",
            c_type(number)
        )
    });
    gets.collect()
}

fn writing() -> Shapes {
    let mut shapes = Shapes::new();
    for (name, value) in [
        ("mode", "3"),
        ("zone", "500"),
        ("tenant", "7"),
        ("rule", "bpf_get_prandom_u32()"),
        ("trace", "bpf_ktime_get_ns()"),
        ("urgent", "(struct pktmeta_flag){}"),
        ("key", "((struct shape_key){ { 1, 2, 3 } })"),
        ("note", "((struct pktmeta_value_of_note){ 3, \"abc\" })"),
    ] {
        shape(
            &mut shapes,
            &format!("set_{name}"),
            format!("\tpktmeta_set(ctx, {name}, {value});\n\treturn PASS;"),
        );
    }
    for (name, body) in [
        (
            "set_or_drop",
            "\treturn pktmeta_set(ctx, tenant, 7) ? DROP : PASS;",
        ),
        (
            "set_to_the_answer_of_a_set",
            "\t__u32 value = 3;\n\n\
             \tpktmeta_set(ctx, rule, pktmeta_set(ctx, zone, value) ? value : 0);\n\treturn PASS;",
        ),
        (
            "set_what_was_read",
            "\t__u32 t;\n\n\tif (!pktmeta_get(ctx, tenant, &t))\n\
             \t\tpktmeta_set(ctx, rule, t + 1);\n\treturn PASS;",
        ),
        (
            "count_up",
            "\t__u32 r;\n\n\tif (pktmeta_get(ctx, rule, &r))\n\t\tr = 0;\n\
             \tpktmeta_set(ctx, rule, r + 1);\n\treturn PASS;",
        ),
        (
            "set_if_absent",
            "\t__u8 m;\n\n\tif (pktmeta_get(ctx, mode, &m) == -PKTMETA_ENOENT)\n\
             \t\tpktmeta_set(ctx, mode, 1);\n\treturn PASS;",
        ),
        (
            "set_then_get",
            "\t__u16 z;\n\n\tif (pktmeta_set(ctx, zone, 5) || pktmeta_get(ctx, zone, &z))\n\
             \t\treturn PASS;\n\treturn z == 5 ? PASS : DROP;",
        ),
        (
            "set_from_a_map",
            "\t__u32 key = 1;\n\t__u64 *x = bpf_map_lookup_elem(&counts, &key);\n\n\
             \tif (x)\n\t\tpktmeta_set(ctx, trace, *x);\n\treturn PASS;",
        ),
        (
            "set_from_the_headers",
            "\tvoid *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;\n\
             \tstruct iphdr *ip = data + sizeof(struct ethhdr);\n\n\
             \tif ((void *)(ip + 1) <= end)\n\t\tpktmeta_set(ctx, tenant, ip->saddr);\n\
             \treturn PASS;",
        ),
        (
            "set_one_of_two",
            "\tif (bpf_get_prandom_u32() & 1)\n\t\tpktmeta_set(ctx, tenant, 1);\n\telse\n\
             \t\tpktmeta_set(ctx, rule, 2);\n\treturn PASS;",
        ),
        (
            "set_in_a_loop",
            "\tint i;\n\n\tfor (i = 0; i < 4; i++)\n\t\tpktmeta_set(ctx, rule, i);\n\treturn PASS;",
        ),
        (
            "delete_it",
            "\treturn pktmeta_delete(ctx, tenant) ? PASS : DROP;",
        ),
        (
            "delete_several",
            "\tpktmeta_delete(ctx, tenant);\n\tpktmeta_delete(ctx, zone);\n\
             \tpktmeta_delete(ctx, note);\n\tpktmeta_delete(ctx, urgent);\n\treturn PASS;",
        ),
        (
            "delete_then_set",
            "\tif (!pktmeta_delete(ctx, note))\n\t\tpktmeta_set(ctx, trace, 1);\n\treturn PASS;",
        ),
        ("compact_it", "\treturn pktmeta_compact(ctx) ? DROP : PASS;"),
        (
            "compact_if_there_is_no_room",
            "\tif (pktmeta_set(ctx, trace, 1) == -PKTMETA_ENOSPC && !pktmeta_compact(ctx))\n\
             \t\tpktmeta_set(ctx, trace, 1);\n\treturn PASS;",
        ),
        (
            "all_of_it",
            "\t__u32 t;\n\n\tif (!pktmeta_has_record(ctx))\n\t\treturn PASS;\n\
             \tif (!pktmeta_get(ctx, tenant, &t) && t == 9)\n\t\treturn DROP;\n\
             \tpktmeta_delete(ctx, rule);\n\tif (pktmeta_set(ctx, zone, 5))\n\
             \t\tpktmeta_compact(ctx);\n\treturn PASS;",
        ),
    ] {
        shape(&mut shapes, name, body);
    }
    for count in SERIES {
        let sets = (0..count).map(|number| format!("\tpktmeta_set(ctx, f{number}, {number});\n"));
        let body = sets.collect::<String>();
        shape(
            &mut shapes,
            &format!("set_series_{count}"),
            format!("{body}\treturn PASS;"),
        );
    }
    shapes
}

fn at_xdp() -> Shapes {
    let mut shapes = Shapes::new();
    for (name, body) in [
        (
            "after_a_new_start",
            "\t__u32 t;\n\n\tif (bpf_xdp_adjust_head(ctx, 14))\n\t\treturn PASS;\n\
             \treturn !pktmeta_get(ctx, tenant, &t) && t == 9 ? DROP : PASS;",
        ),
        (
            "headers_anew_after_a_set",
            "\tvoid *data, *end;\n\tstruct ethhdr *eth;\n\n\
             \tif (pktmeta_set(ctx, tenant, 7))\n\t\treturn PASS;\n\
             \tdata = (void *)(long)ctx->data;\n\tend = (void *)(long)ctx->data_end;\n\
             \teth = data;\n\tif ((void *)(eth + 1) > end)\n\t\treturn PASS;\n\
             \treturn eth->h_proto == bpf_htons(0x86dd) ? DROP : PASS;",
        ),
    ] {
        shape(&mut shapes, name, body);
    }
    shapes
}
