// Package jsonl writes transactions as the contract's JSON Lines and reads them
// back: [Encoder] and [Reader] are exact inverses.
//
// A line is one object of nested objects, named as in the Elastic Common
// Schema. Keys stand in one fixed order, that of their first appearance in the
// contract's table, grouped by object:
//
//	@timestamp
//	event        id duration end outcome
//	source       ip port
//	destination  ip port
//	client       ip
//	network      community_id protocol vlan{id}
//	http         version
//	             request{method body{bytes hash{sha256}} mime_type referrer}
//	             response{body{bytes hash{sha256}} mime_type status_code}
//	url          original domain path query
//	user_agent   original
//	tls          client{ja4 server_name}
//	user         hash
//	offpath      sequence fingerprint fingerprint_loose fingerprint_wire
//	             request{headers signature header_fields decoded_bytes}
//	             response{signature header_fields decoded_bytes}
//	             auth ofx grpc operation informational refused_by flags encapsulation
//	             gap_bytes complete anomalies sensitive outcome endpoint role
//
// with signature{media keys order cookies location code length},
// auth{carrier user_field password_field password_fields grant_type
// password_hash session_presented session_issued token_issued api_key_hash},
// ofx{message_sets status_codes source_hash destination_hash amount currency} and
// grpc{status request_messages response_messages partial}.
//
// An absent key means unknown; 0 and false are written. gap_bytes is absent if
// there is no gap. event.end is the time by which lines are sorted; a line of
// another tool may lack it, then it is @timestamp plus event.duration. Likewise
// token_issued: then a token was issued if there are more sessions than cookies.
//
// What is no transaction ([reassembly.Event]) is a line with event.action, which
// the Reader passes over: tls-client-hello has tls.client.ja3 and
// offpath.tls{version alpn}; websocket-end has offpath.websocket{request client
// server}, with {frames messages bytes gap_bytes close_code partial invalid} of
// each side, and gap_bytes and close_code only if there are any.
//
// Strings of the wire may hold any octets. In every string a backslash is
// doubled and an octet that is no valid UTF-8 appears as \xNN; that is then
// written as JSON (so a backslash of the wire is four in the file). See
// [AppendString].
//
// Nothing here keeps state between lines but an Encoder's texts and a Reader's
// buffers; each is for one goroutine. Compressed files are the caller's to open.
package jsonl
