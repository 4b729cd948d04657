// Package pipeline makes transactions of packets: it composes, for each worker,
// the shards' flow tables (reassembly/tcp), the message parsers
// (reassembly/http1), the pairing of requests with responses, and the extraction
// of what they mean (reassembly/content).
//
// # Concurrency and memory
//
// The goroutine that calls [Pipeline.Handle] for a worker runs all of it to
// completion; workers share nothing. Flows, buffers and everything kept of
// unfinished messages are bounded per shard, a 256th of [Config.Memory], so that
// what is shed does not depend on the number of workers (unless [Config.Divided]).
// Which flows share a shard is nobody's choice: capture/decode keys it. Transactions
// hold no view into packets.
//
// A flow's own share pays for HTTP/1. What a connection keeps beside is charged to
// the shard's buffers: messages in parts, what TLS, HTTP/2, WebSockets and PROXY
// headers need, and requests that wait for their response. Three quarters of them at
// most go to what only waits: a connection that finds no room to be more than HTTP/1
// is refused, and a request that finds none to wait is handed over without response;
// both are counted.
//
// # Time and order
//
// The clock is the packets'. A transaction ends at the clock of the packet that
// delivered its last octet, or at the deadline at which it was given up. After
// each batch its clock is the worker's watermark: later transactions end no
// earlier. reassembly/order makes one order of the workers'. The result is the same
// for any number of workers, and up to any time the same as if the input ended
// there, what [Pipeline.Close] flushes aside.
//
// # Pairing
//
// Responses answer requests in order (RFC 9112 section 9.3.2). Once octets
// were lost that may have held a request or a response, order alone proves
// nothing: then a response is paired only with the request that was sent when
// the client had received exactly what precedes the response, or, if there is
// but one candidate, with the last request that the server had acknowledged when
// it answered. What can't be proven stays unpaired: the request is a transaction
// without response, the response is counted.
//
// A mirror races the directions, so a response whose acknowledgement covers
// request octets that have not come yet waits for them (see tcp.Config.Hold).
//
// Where no packet of the server was ever seen, a request is handed over two seconds
// after it ended; in HTTP/2, with whatever else was not heard of for so long.
//
// There is one transaction per request. A response without a request makes none:
// it is counted, and the connection's next transaction carries
// unsolicited_response if no loss explains it.
//
// # Roles
//
// Who is the client is known from the handshake. Of a connection joined in the middle
// it is a guess from what the sides begin segments with, which may stand in a body:
// the guess is made good when the other side proves it wrong, and holds once a
// response has been paired with a request. Likewise that it speaks TLS or HTTP/2 is
// taken back when HTTP/1 is proven, until both sides have said their part.
//
// # Layers
//
// Beside HTTP/1 in the clear a connection may begin with a PROXY protocol header
// (reassembly/proxyproto), be secured (reassembly/tls), speak HTTP/2
// (reassembly/http2), become a WebSocket (reassembly/websocket) or a tunnel, in
// which all this begins anew; TLS within TLS is not followed. What is no exchange of
// HTTP is handed over, if [Config] asks for it, as a transaction with an Event. A
// connection of which nothing more can be learnt is ignored, and costs its flow.
package pipeline
