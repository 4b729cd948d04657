// Package endpoint names the endpoint that a request goes to,
// METHOD host/path/{template} with #operation where there is one, and learns
// the templates from the traffic.
//
// A request is looked up by its key, a pure function of it in which segments
// that are identifiers by their shape are {id}; a [Learner] knows which
// endpoint a key belongs to. Beside shapes it goes by what siblings have in
// common: answers with the same keys, the same continuations, new values
// without end. Parameters are called after the noun before them
// (/accounts/{accountId}), or id where there is none; a name never changes once
// it is published. What was taken literally and turns out to be a value gets
// the template's name from then on, and its old name is an alias.
//
// What a Learner says is a function of the requests it has seen, in their
// order, and nothing else; it belongs to one goroutine. Clients choose paths,
// so that everything is bounded, and what is given up is counted
// ([Stats]): a scan neither makes templates of what is not there (answers of
// 404 teach nothing) nor merges an endpoint that is pinned, as logins are.
package endpoint
