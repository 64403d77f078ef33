//! Geometry and vectors.

use super::{Row, row, typed};

pub const SHAPES: &[Row] = &[
    row(
        "struct g.Point",
        "point",
        "",
        &[
            (
                "{\"x\":1.5,\"y\":-2.25,\"wkb\":\"AQEAAAAAAAAAAAD4PwAAAAAAAALA\",\"srid\":null}",
                "(1.5,-2.25)",
            ),
            ("{\"x\":\"Infinity\",\"y\":1e-10}", "(Infinity,1e-10)"),
        ],
    ),
    row(
        "struct g.Circle",
        "circle",
        "",
        &[("{\"center\":{\"x\":1.0,\"y\":2.0},\"radius\":3.5}", "<(1,2),3.5>")],
    ),
    row("struct g.Line", "line", "", &[("{\"a\":-1.0,\"b\":0.5,\"c\":2.0}", "{-1,0.5,2}")]),
    row(
        "struct g.Geometry source.type=BOX",
        "box",
        "",
        &[(
            "{\"wkb\":\"AQMAAAABAAAABQAAAAAAAAAAAPA/AAAAAAAA8D8AAAAAAADwPwAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA8D8AAAAAAADwPwAAAAAAAPA/\",\"extensions\":{\"type\":\"box\"}}",
            "(1,1),(0,0)",
        )],
    ),
    row(
        "struct g.Geometry source.type=LSEG",
        "lseg",
        "",
        &[(
            "{\"wkb\":\"AQIAAAACAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAPg/AAAAAAAAAEA=\",\"extensions\":{\"type\":\"lseg\"}}",
            "[(0,0),(1.5,2)]",
        )],
    ),
    row(
        "struct g.Geometry source.type=PATH",
        "path",
        "",
        &[
            (
                "{\"wkb\":\"AQIAAAADAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAPg/AAAAAAAAAEAAAAAAAAAIQAAAAAAAAAAA\",\"extensions\":{\"type\":\"path\",\"closed\":\"true\"}}",
                "((0,0),(1.5,2),(3,0))",
            ),
            (
                "{\"wkb\":\"AQIAAAADAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAPg/AAAAAAAAAEAAAAAAAAAIQAAAAAAAAAAA\",\"extensions\":{\"type\":\"path\",\"closed\":\"false\"}}",
                "[(0,0),(1.5,2),(3,0)]",
            ),
        ],
    ),
    row(
        "struct g.Geometry source.type=POLYGON",
        "polygon",
        "",
        &[(
            "{\"wkb\":\"AQMAAAABAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAPA/AAAAAAAA8D8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\",\"extensions\":{\"type\":\"polygon\"}}",
            "((0,0),(0,1),(1,0))",
        )],
    ),
    // PostGIS says the SRID inside the WKB too, MySQL beside it.
    row(
        "struct g.Geometry",
        "bytea",
        "",
        &[
            (
                "{\"wkb\":\"AQEAACDmEAAAAAAAAAAA+D8AAAAAAAACwA==\",\"srid\":4326}",
                "\\x0101000020e6100000000000000000f83f00000000000002c0",
            ),
            (
                "{\"wkb\":\"AQEAAAAAAAAAAAD4PwAAAAAAAALA\",\"srid\":4326}",
                "\\x0101000020e6100000000000000000f83f00000000000002c0",
            ),
            (
                "{\"wkb\":\"AAAAAAE/+AAAAAAAAMACAAAAAAAA\",\"srid\":4326}",
                "\\x0020000001000010e63ff8000000000000c002000000000000",
            ),
            (
                "{\"wkb\":\"AQEAAAAAAAAAAAD4PwAAAAAAAALA\",\"srid\":null}",
                "\\x0101000000000000000000f83f00000000000002c0",
            ),
        ],
    ),
    row(
        "struct g.Geometry",
        "bytea",
        "geometry",
        &[
            (
                "{\"wkb\":\"AQEAAAAAAAAAAAD4PwAAAAAAAALA\",\"srid\":4326}",
                "0101000020e6100000000000000000f83f00000000000002c0",
            ),
            (
                "{\"wkb\":\"AQEAACDmEAAAAAAAAAAA+D8AAAAAAAACwA==\",\"srid\":4326}",
                "SRID=4326;POINT(1.5 -2.25)",
            ),
            (
                "{\"wkb\":\"AAAAAAE/+AAAAAAAAMACAAAAAAAA\",\"srid\":4326}",
                "SRID=4326;POINT(1.5 -2.25)",
            ),
            ("{\"wkb\":\"AQEAAAAAAAAAAAD4fwAAAAAAAPh/\",\"srid\":null}", "POINT EMPTY"),
            ("{\"wkb\":\"AQEAAIAAAAAAAAD4PwAAAAAAAALAAAAAAAAAHEA=\"}", "POINT Z (1.5 -2.25 7)"),
            ("{\"wkb\":\"AekDAAAAAAAAAAD4PwAAAAAAAALAAAAAAAAAHEA=\"}", "POINT Z (1.5 -2.25 7)"),
            (
                "{\"wkb\":\"AQMAAAABAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAPA/AAAAAAAA8D8AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"}",
                "POLYGON((0 0,0 1,1 0,0 0))",
            ),
            (
                "{\"wkb\":\"AQcAAAACAAAAAQEAAAAAAAAAAADwPwAAAAAAAABAAAAAAAIAAAACAAAAAAAAAAAAAAAAAAAAAD/wAAAAAAAAP/AAAAAAAAA=\"}",
                "GEOMETRYCOLLECTION(POINT(1 2),LINESTRING(0 0,1 1))",
            ),
        ],
    ),
    row(
        "struct g.Geometry",
        "bytea",
        "area",
        &[("{\"wkb\":\"AQEAAAAAAAAAAADwPwAAAAAAAABA\"}", "POINT(1 2)")],
    ),
    row(
        "struct g.Geography",
        "bytea",
        "geography",
        &[
            (
                "{\"wkb\":\"AQEAACDmEAAAAAAAAAAA+D8AAAAAAAACwA==\",\"srid\":4326}",
                "0101000020e6100000000000000000f83f00000000000002c0",
            ),
            ("{\"wkb\":\"AQEAAAAAAAAAAAD4PwAAAAAAAALA\"}", "POINT(1.5 -2.25)"),
        ],
    ),
    row(
        "[struct g.Geometry]",
        "bytea[]",
        "geometry[]",
        &[(
            "[{\"wkb\":\"AQEAAAAAAAAAAADwPwAAAAAAAABA\"},null,{\"wkb\":\"AQEAAAAAAAAAAAD4PwAAAAAAAALA\",\"srid\":4326}]",
            "{POINT(1 2):NULL:SRID=4326;POINT(1.5 -2.25)}",
        )],
    ),
    row(
        "[struct g.Geography]",
        "bytea[]",
        "geography[]",
        &[(
            "[{\"wkb\":\"AQEAAAAAAAAAAADwPwAAAAAAAABA\"},{\"wkb\":\"AQEAAAAAAAAAAADwPwAAAAAAAABA\"}]",
            "{POINT(1 2):POINT(1 2)}",
        )],
    ),
    row(
        "struct g.Point",
        "point",
        "bytea",
        &[(
            "{\"x\":1.5,\"y\":-2.25,\"wkb\":\"AQEAAAAAAAAAAAD4PwAAAAAAAALA\",\"srid\":4326}",
            "\\x0101000020e6100000000000000000f83f00000000000002c0",
        )],
    ),
    row(
        "[double] d.DoubleVector",
        "double precision[]",
        "",
        &[("[0.1,-2,3e10]", "{0.1,-2,30000000000}")],
    ),
    row("[double] d.DoubleVector", "double precision[]", "vector", &[("[0.1,-2,3]", "[0.1,-2,3]")]),
    row("[float] d.FloatVector", "real[]", "", &[("[0.1,-2]", "{0.1,-2}")]),
    row("[float] d.FloatVector", "real[]", "vector", &[("[0.1,-2]", "[0.1,-2]")]),
    row("[float] d.FloatVector", "real[]", "halfvec", &[("[0.5,-2]", "[0.5,-2]")]),
    typed(
        "struct d.SparseDoubleVector",
        "text",
        "",
        &[("{\"dimensions\":5,\"vector\":[[3,2.0],[1,0.1]]}", "{1:0.1,3:2}/5")],
    ),
    row(
        "struct d.SparseDoubleVector",
        "text",
        "sparsevec",
        &[
            ("{\"dimensions\":5,\"vector\":[[3,2.0],[1,0.1]]}", "{1:0.1,3:2}/5"),
            ("{\"dimensions\":3,\"vector\":[]}", "{}/3"),
        ],
    ),
    row(
        "struct d.SparseVector",
        "text",
        "sparsevec",
        &[("{\"dimensions\":5,\"vector\":[[3,2.0]]}", "{3:2}/5")],
    ),
];
