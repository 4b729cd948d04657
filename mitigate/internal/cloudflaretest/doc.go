// Package cloudflaretest is what stands in for Cloudflare in tests: the parts of its API
// that offpath uses, with the limits that Cloudflare documents ([API]), and an edge in front
// of a small backend that answers clients by what the API holds ([Server]), as Cloudflare
// would when a change has reached all of its data centres. Written from Cloudflare's public
// documentation of the Lists API, the Rulesets API and the API's limits.
package cloudflaretest
