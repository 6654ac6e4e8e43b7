package main

import "fmt"

// What one value function does for several policies: Tables 2 and 3.

// against are the differences of every policy's methods from its own base policy.
func (s *study) against(base string, methods []string, reward int, claim string) (out []verdict) {
	for _, m := range s.models {
		for _, method := range methods {
			own := s.by(method, m.id)
			if own == nil {
				continue
			}
			out = append(out, s.claim(fmt.Sprintf(claim, method, m.id), own, s.by(base, m.id), reward))
		}
	}
	return out
}

func (s *study) transferClaims() []verdict {
	if s.name != "transfer" {
		return nil
	}
	return s.against("base", []string{"beam", "guided"}, 0, "transfer (%s) is positive for the policy %s")
}

func (s *study) safetyClaims() []verdict {
	if s.name != "safety" {
		return nil
	}
	return s.against("base", []string{"by the aligned policy's", "by the unaligned policy's"}, 1, "guidance %s makes the %s policy safer")
}

func (d *document) transfer(all []*study) {
	d.say("")
	d.say("## Table 2: one value function for policies of other sizes")
	d.say("")
	d.say("The paper: -7.71 to 3.78, 1.56 to 13.34 and 7.67 to 20.42 for three sizes.")
	if s := d.named(all, "transfer"); s != nil {
		d.policies(s, -1)
	}
}

func (d *document) safety(all []*study) {
	d.say("")
	d.say("## Table 3: safety rate")
	d.say("")
	d.say("The paper: the aligned policy from 92.87 to 96.14 and 97.48 %%, the unaligned one from 65.27 to 81.04 and 86.17 %%.")
	if s := d.named(all, "safety"); s != nil {
		d.policies(s, 0)
	}
}

// policies tells of every policy's methods: the reward, and with watched of 0 or more that reward beside it.
func (d *document) policies(s *study, watched int) {
	columns := []string{"policy", "parameters", "method", s.x.Reward.Spec}
	if watched >= 0 {
		columns = append(columns, s.watched[watched])
	}
	d.table(append(columns, "KL, nats", "decoded a token")...)
	for _, m := range s.models {
		for i := range s.rows {
			r := &s.rows[i]
			if r.Row.Model != m.id {
				continue
			}
			line := fmt.Sprintf("%s | %.2g | %s | %s", m.id, m.parameters, r.Row.Method, text(r.Row.Reward))
			if watched >= 0 {
				line += " | " + percent(r.Others[s.watched[watched]])
			}
			d.say("%s | %s | %.1f", line, digits(r.Row.KL, 2), r.DecodedPerEmitted)
		}
	}
}
