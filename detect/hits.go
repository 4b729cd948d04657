package detect

// Hits is what a load balancer counted for one verdict since its report
// before. It is the only evidence that a verdict is still needed where the
// mirror lies behind the load balancer and refused requests are not seen.
type Hits struct {
	Verdict string // id
	Target  string // name of the load balancer that counted
	Time    int64  // when it was read, wall clock, ns since the epoch
	Refused uint64 // requests refused by order of the verdict
	Passed  uint64 // requests of the subject let through: monitor mode, tagged, within the rate
}
