// Package awswaftest is what stands in for AWS WAF in tests: a stand-in of its API that has
// the limits AWS documents ([Fake]), moto's server, which others wrote and which lacks
// those ([StartMoto]), and a judge who answers a request by what either of them holds
// ([Judge]), as AWS would when an update has reached all of it.
package awswaftest
