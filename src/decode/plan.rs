//! A record schema compiled against a Silver table.
