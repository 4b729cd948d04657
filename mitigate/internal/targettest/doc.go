// Package targettest says what every target that sits in the path of requests has to do,
// as tests that the real program is put through: a controller gives the orders, and what
// counts is what clients are answered.
//
// It also has what such tests share: a backend that says what tag it was handed, and
// clients with addresses of their own (in 127.0.0.0/8; others are named by a proxy at
// [Proxy], which the load balancer has to trust).
package targettest
