% rebase("operator_layout.tpl", title=(f"({decision_count}) " if decision_count else "") + "Payments", page="Payments", live=True)
% to = "?" + place if place else ""
<h1 class="unseen">Payments</h1>
<p class="ways"><a class="button main" href="{{root}}operator/new">New request</a> <a class="button" href="{{root}}operator/links/new">New link</a> <a class="button" href="{{root}}operator/till">Till</a></p>
<p id="news" class="unseen" role="status" data-live>\\
% if problems:
There are problems. \\
% end
{{", ".join(f"{each.title}: {each.count}" for each in questions)}}</p>
% include("operator_notice.tpl", to=to)
<section id="problems" aria-label="Problems" data-live>
% include("operator_problems.tpl")
</section>
<section id="questions" class="questions" aria-label="Open decisions" data-live>
% if questions:
<h2>Open decisions</h2>
% for question in questions:
<h3>{{question.title}} <a href="{{root}}?needs={{question.need}}">all {{question.count}}</a></h3>
<p>{{question.advice}}</p>
% include("operator_rows.tpl", rows=question.rows, caption=question.title, prefix=question.need + "-", decide=True, to=to)
% end
% end
</section>
% if need:
% include("operator_found.tpl", to=to)
% end
<section id="health" aria-label="Health" data-live>
% include("operator_health.tpl")
</section>
<section id="failed-logins" aria-label="Failed logins" data-live>
% if failed_logins:
<h2>Failed logins</h2>
<p>{{f"{sum(each.tries for each in failed_logins):,}"}} wrong passwords since your previous login. If you did not send them, set a
longer OPERATOR_PASSWORD. A new password also ends all sessions.</p>
<ul>
% for each in failed_logins[:10]:
<li>{{each.address}}: {{f"{each.tries:,}"}}, the last at <time datetime="{{each.last_at.isoformat()}}">{{moment(each.last_at)}}</time> (UTC)</li>
% end
% if len(failed_logins) > 10:
<li>{{f"{len(failed_logins) - 10:,}"}} more addresses</li>
% end
</ul>
% end
</section>
% if not is_first_day:
<section aria-label="Find payments">
<details class="find" {{"open" if query else ""}}>
<summary>Find…</summary>
<form class="filters" method="get" action="{{root or './'}}" role="search">
<label class="wide">Id, order, note, address or transaction <input type="search" name="q" value="{{given.get('q', '')}}" maxlength="100"></label>
<label>Status <select name="status"><option value="">any</option>
% for status in statuses:
<option {{"selected" if given.get("status") == status else ""}}>{{status}}</option>
% end
</select></label>
<label>Seller <select name="seller"><option value="">any</option>
% for seller in sellers:
<option {{"selected" if given.get("seller") == seller else ""}}>{{seller}}</option>
% end
</select></label>
<label>Currency <input name="currency" value="{{given.get('currency', '')}}" size="4" maxlength="3" pattern="[A-Za-z]{3}" title="Three letters, such as EUR" autocapitalize="characters"></label>
<label>From <input type="date" name="created_after" value="{{given.get('created_after', '')}}"></label>
<label>To <input type="date" name="created_before" value="{{given.get('created_before', '')}}"></label>
<label>Needs <select name="needs"><option value="">anything</option>
% for each, (words, _) in needs.items():
<option value="{{each}}" {{"selected" if given.get("needs") == each else ""}}>{{words}}</option>
% end
</select></label>
<p class="actions"><button class="main">Find</button>
% if query:
<a href="{{root or './'}}">All payments</a>
% end
<a href="{{root}}operator/payments.csv{{'?' + query if query else ''}}" download>Download CSV</a></p>
</form>
</details>
</section>
% end
% if not need:
% include("operator_found.tpl", to=to)
% end
