//! Dates, times, intervals and the other time modes.

use super::{Row, row, typed};

pub const TIMES: &[Row] = &[
    row(
        "int32 t.Date",
        "date",
        "",
        &[
            ("20512", "2026-02-28"),
            ("0", "1970-01-01"),
            ("-735160", "0044-03-15 BC"),
            ("-2440588", "4714-11-24 BC"),
            ("2932897", "10000-01-01"),
            ("2145042905", "5874897-12-31"),
            // Infinity: streamed, then in snapshots.
            ("-2147472692", "infinity"),
            ("-2147472691", "-infinity"),
            ("-622191234", "infinity"),
            ("-625821272", "-infinity"),
        ],
    ),
    row("int32 t.Time", "time(3)", "", &[("45296789", "12:34:56.789"), ("86400000", "24:00:00")]),
    row(
        "int64 t.MicroTime",
        "time",
        "",
        &[("45296789012", "12:34:56.789012"), ("86400000000", "24:00:00")],
    ),
    typed("int64 t.MicroTime", "time", "interval", &[("-3020399000000", "-838:59:59")]),
    row(
        "int64 t.Timestamp",
        "timestamp(3)",
        "",
        &[
            ("1772282096789", "2026-02-28 12:34:56.789"),
            ("-210866803200000", "4714-11-24 00:00:00 BC"),
            ("253402300800000", "10000-01-01 00:00:00"),
            ("9223372036825200", "infinity"),
            ("-9223372036832400", "-infinity"),
        ],
    ),
    row(
        "int64 t.MicroTimestamp",
        "timestamp",
        "",
        &[
            ("1772282096789012", "2026-02-28 12:34:56.789012"),
            ("-62135596800000001", "0001-12-31 23:59:59.999999 BC"),
            ("253402300800000000", "10000-01-01 00:00:00"),
            ("9223372036825200000", "infinity"),
            ("-9223372036832400000", "-infinity"),
        ],
    ),
    row(
        "string t.ZonedTimestamp",
        "timestamptz",
        "",
        &[
            ("\"2026-02-28T12:34:56.789012Z\"", "2026-02-28 12:34:56.789012+00"),
            ("\"2026-02-28T12:34:56+05:30\"", "2026-02-28 12:34:56+05:30"),
            ("\"-4713-11-24T00:00:00Z\"", "4714-11-24 00:00:00+00 BC"),
            ("\"+294276-12-31T23:59:59.999999Z\"", "294276-12-31 23:59:59.999999+00"),
            ("\"infinity\"", "infinity"),
            ("\"-infinity\"", "-infinity"),
        ],
    ),
    row(
        "string t.ZonedTime",
        "timetz",
        "",
        &[
            ("\"12:34:56.789012Z\"", "12:34:56.789012+00"),
            ("\"24:00:00Z\"", "24:00:00+00"),
            ("\"01:02:03-15:59:59\"", "01:02:03-15:59:59"),
        ],
    ),
    row(
        "string t.Interval",
        "interval",
        "",
        &[
            ("\"P1Y2M3DT4H5M6.789012S\"", "1 year 2 mons 3 days 04:05:06.789012"),
            ("\"P-1Y-2M0DT0H0M-0.5S\"", "-1 year -2 mons -00:00:00.5"),
            ("\"P178000000Y0M0DT0H0M0S\"", "178000000 years"),
        ],
    ),
    row(
        "int64 t.MicroDuration",
        "interval",
        "",
        &[("14706789012", "04:05:06.789012"), ("-1", "-00:00:00.000001")],
    ),
    row("int64 t.MicroDuration", "interval", "bigint", &[("14706789012", "14706789012")]),
    row(
        "struct t.StructuredDate",
        "date",
        "",
        &[
            ("{\"year\":2026,\"month\":2,\"day\":28}", "2026-02-28"),
            ("{\"year\":-43,\"month\":3,\"day\":15}", "0044-03-15 BC"),
            ("{\"year\":5874897,\"month\":12,\"day\":31}", "5874897-12-31"),
            ("{\"specialValue\":\"POSITIVE_INFINITY\"}", "infinity"),
            ("{\"specialValue\":\"NEGATIVE_INFINITY\"}", "-infinity"),
        ],
    ),
    row(
        "struct t.StructuredTime",
        "time",
        "",
        &[
            (
                "{\"hour\":12,\"minute\":34,\"second\":56,\"nanos\":789012000,\"precision\":6}",
                "12:34:56.789012",
            ),
            ("{\"hour\":24,\"minute\":0,\"second\":0,\"nanos\":0}", "24:00:00"),
        ],
    ),
    row(
        "struct t.StructuredTimestamp",
        "timestamp",
        "",
        &[
            (
                "{\"year\":2026,\"month\":2,\"day\":28,\"hour\":12,\"minute\":34,\"second\":56,\"nanos\":789012000}",
                "2026-02-28 12:34:56.789012",
            ),
            (
                "{\"year\":294276,\"month\":12,\"day\":31,\"hour\":23,\"minute\":59,\"second\":59,\"nanos\":999999000}",
                "294276-12-31 23:59:59.999999",
            ),
            (
                "{\"year\":0,\"month\":12,\"day\":31,\"hour\":0,\"minute\":0,\"second\":0}",
                "0001-12-31 00:00:00 BC",
            ),
            ("{\"specialValue\":\"POSITIVE_INFINITY\",\"precision\":6}", "infinity"),
            ("{\"specialValue\":\"NEGATIVE_INFINITY\"}", "-infinity"),
        ],
    ),
    row(
        "struct t.StructuredTimestampPrecision3SourceColumn6331",
        "timestamp(3)",
        "",
        &[(
            "{\"year\":2026,\"month\":2,\"day\":28,\"hour\":12,\"minute\":34,\"second\":56,\"picoseconds\":789000000000}",
            "2026-02-28 12:34:56.789",
        )],
    ),
    row(
        "struct t.StructuredZonedTime",
        "time with time zone",
        "",
        &[
            (
                "{\"hour\":12,\"minute\":34,\"second\":56,\"nanos\":789012000,\"offsetSeconds\":19800}",
                "12:34:56.789012+05:30",
            ),
            (
                "{\"hour\":24,\"minute\":0,\"second\":0,\"nanos\":0,\"offsetSeconds\":-57599}",
                "24:00:00-15:59:59",
            ),
        ],
    ),
    row(
        "struct t.StructuredZonedTimestamp",
        "timestamp with time zone",
        "",
        &[
            (
                "{\"year\":2026,\"month\":2,\"day\":28,\"hour\":12,\"minute\":34,\"second\":56,\"nanos\":0,\"offsetSeconds\":3600,\"zoneId\":\"Europe/Berlin\"}",
                "2026-02-28 12:34:56+01",
            ),
            (
                "{\"year\":2026,\"month\":2,\"day\":28,\"hour\":12,\"minute\":34,\"second\":56,\"nanos\":0,\"zoneId\":\"Z\"}",
                "2026-02-28 12:34:56+00",
            ),
            ("{\"specialValue\":\"NEGATIVE_INFINITY\"}", "-infinity"),
        ],
    ),
    row(
        "struct t.StructuredDuration",
        "interval",
        "",
        &[
            (
                "{\"years\":1,\"months\":-2,\"days\":3,\"hours\":4,\"minutes\":5,\"seconds\":6,\"nanos\":789012000}",
                "10 mons 3 days 04:05:06.789012",
            ),
            ("{\"years\":178000000}", "178000000 years"),
            ("{\"seconds\":-1,\"nanos\":-500000000}", "-00:00:01.5"),
        ],
    ),
];

/// `time.precision.mode=nanoseconds`.
pub const NANOSECONDS: &[Row] = &[
    row(
        "int64 t.NanoTime",
        "time",
        "",
        &[("45296789012000", "12:34:56.789012"), ("86400000000000", "24:00:00")],
    ),
    row(
        "int64 t.NanoTimestamp",
        "timestamp",
        "",
        &[
            ("1772282096789012000", "2026-02-28 12:34:56.789012"),
            ("9223372036854775807", "infinity"),
            ("-9223372036854775808", "-infinity"),
        ],
    ),
    typed("int64 t.NanoDuration", "interval", "", &[("14706789012000", "04:05:06.789012")]),
];

/// `time.precision.mode=connect`.
pub const CONNECT: &[Row] = &[
    row("int32 k.Date", "date", "", &[("20512", "2026-02-28")]),
    row("int32 k.Time", "time(3)", "", &[("45296789", "12:34:56.789")]),
    row("int64 k.Timestamp", "timestamp(3)", "", &[("1772282096789", "2026-02-28 12:34:56.789")]),
    row(
        "int64 k.Timestamp",
        "timestamp(3)",
        "timestamp",
        &[("1772282096789", "2026-02-28 12:34:56.789")],
    ),
];

/// `time.precision.mode=isostring`.
pub const ISO: &[Row] = &[
    row(
        "string t.IsoDate",
        "date",
        "",
        &[
            ("\"2026-02-28Z\"", "2026-02-28"),
            ("\"-0043-03-15Z\"", "0044-03-15 BC"),
            ("\"+10000-01-01Z\"", "10000-01-01"),
            ("\"-5877611-06-21Z\"", "infinity"),
            ("\"-5877611-06-22Z\"", "-infinity"),
            ("\"+292278994-08-16Z\"", "infinity"),
            ("\"+292269055-12-02Z\"", "-infinity"),
        ],
    ),
    row("string t.IsoTime", "time", "", &[("\"12:34:56.789012Z\"", "12:34:56.789012")]),
    row(
        "string t.IsoTimestamp",
        "timestamp",
        "",
        &[
            ("\"2026-02-28T12:34:56.789012Z\"", "2026-02-28 12:34:56.789012"),
            ("\"+294247-01-10T04:00:25.2Z\"", "infinity"),
            ("\"-290308-12-21T19:59:27.6Z\"", "-infinity"),
        ],
    ),
];
