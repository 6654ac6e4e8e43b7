package engine

import "slices"

// leastShared is the number of tokens from which on a beginning that prompts share is decoded apart from
// them. That takes a batch of its own.
const leastShared = 16

// shared finds what the prompts of all jobs begin with: its tokens and the job that decodes and keeps them, 0 where
// it is not worth it. It depends on the list alone, so that equal lists give equal results. Nobody's prompt is
// shared to its end, whose row its own job wants, so it is never cut and all memories can be copied.
func (e *Engine) shared(jobs []Job) (first Job, n int) {
	if len(jobs) < 2 || !e.spare {
		return Job{}, 0
	}
	prompt := jobs[0].Prompt
	n = len(prompt)
	for _, j := range jobs {
		n = min(n, common(prompt, j.Prompt), len(j.Prompt)-1)
	}
	if n < leastShared {
		return Job{}, 0
	}
	states := slices.ContainsFunc(jobs, func(j Job) bool { return j.PromptStates })
	return Job{Sequences: 1, Cells: n, Prompt: prompt[:n], PromptStates: states, Run: func(s *Session) (err error) {
		if states {
			_, _, err = s.PrefillStates(prompt[:n], 1)
		} else {
			_, err = s.Prefill(prompt[:n], 1)
		}
		return err
	}}, n
}

// lend gives a list of jobs one sequence more, which keeps what they share, and unlend takes it back.
func (r *scheduler) lend() { r.freeIDs = slices.Insert(r.freeIDs, 0, int32(r.e.sequences)) }

func (r *scheduler) unlend() {
	r.evict(nil, true, func() bool { return false })
	r.freeIDs = slices.DeleteFunc(r.freeIDs, func(id int32) bool { return int(id) == r.e.sequences })
	r.tell()
}
