import sys, os
sys.path.insert(0, os.path.dirname(__file__))
import programs, rows, time
form = sys.argv[1]
pool = {"subpool": programs.SUBPOOL, "threads": "from concurrent.futures import ThreadPoolExecutor as Pool", "stdlib":"from concurrent.futures import InterpreterPoolExecutor as Pool", "aio": "from tagging import Pool"}[sys.argv[2] if len(sys.argv)>2 else "subpool"]
limit = float(sys.argv[3]) if len(sys.argv)>3 else 30
start = time.time()
chosen = [r for r in rows.rows() if form in r.forms and sys.version_info >= r.since]

if "-1" in sys.argv:
    report = programs.Report({}, [])
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(2) as ex:
        for r in ex.map(lambda r: programs.run([r], form, pool, limit=limit), chosen):
            report.outcomes.update(r.outcomes); report.faults += r.faults
else:
    report = programs.run(chosen, form, pool, limit=limit)
for r in chosen:
    o = report.outcomes[r.what]
    if not o.right:
        print("WRONG", r.what, ("|" + o.saw[:200].replace("\n", " ")) if "-v" in sys.argv else "")
print(form, sum(o.right for o in report.outcomes.values()), "of", len(chosen), f"{time.time()-start:.1f}s")
for f in report.faults: print("FAULT", f[:600])
