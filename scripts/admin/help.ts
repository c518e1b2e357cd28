/** What `npm run admin -- --help` prints. */
export const HELP = `npm run admin -- <command> [arguments] [options]

Rules the accounts of a deployment with its admin key, and shows its fleet.

  fleet                           stage servers with their states and reasons, and what waits for them
  accounts                        lists the accounts
  open <name>                     opens one, with its first key
  show <account>                  one account: limits, balance, open jobs, whether it is suspended
  change <account>                its name, limits or billing; what is not given stays
  suspend <account>               refuses new work; --running says what becomes of jobs under way
  resume <account>                takes work again
  erase <account>                 erases every job it has now; waits until that is done
  audit <account>                 who did what to it, oldest first
  keys <account>                  lists its keys
  make-key <account> <name>       makes another
  rotate-key <account> <key>      makes one in the place of another, which opens a while longer
  revoke-key <account> <key>      a key opens nothing any more

  top-up <account> <usd>          money that came in
  refund <account> <job> <usd>    gives back what a job was charged, or a part of it
  adjust <account> <usd>          gives, or takes where it is below 0
  statement <account>             every entry of its ledger, oldest first
  usage <account>                 what it did and spent, by --by
  reconcile <account>             compares ledger, jobs and outbox; exit code 1 where they differ
  export-ledger <account>         writes its ledger to the file --out
  restore-ledger <account> <file> puts one back into a suspended account

  --url <address>                 of the Worker (environment: RALU_URL)
  --admin-key <key>               its secret ADMIN_KEY (environment: RALU_ADMIN_KEY)
  --name <text>                   change: the new name
  --images-per-minute <n>         open, change: images that each key may start in a minute
  --concurrent-jobs <n>           open, change: jobs at once
  --tflops-per-minute <n>         open, change, make-key: work that may begin in a minute; auto: by the model
  --tflops-per-image <n>          open, change: work of one image; auto: by the model
  --steps-per-image <n>           open, change: steps of one image
  --usd-per-day <usd>             open, change, make-key: what may be spent in a day (UTC); none: no limit
  --usd-per-month <usd>           open, change, make-key: the same in a month
  --usd-per-user-day <usd>        open, change: the same of each user in a day
  --usd-per-user-month <usd>      open, change: the same of each user in a month
  --billing <mode>                open, change: prepaid or postpaid (prepaid)
  --credit-limit <usd>            open, change: what a postpaid account may owe; none: no limit
  --stripe-customer <id>          open, change: whom Stripe bills for a postpaid account; none: nobody
  --jurisdiction <law>            open: where its jobs and pictures stay, for good: eu, us or fedramp (anywhere)
  --running <what>                suspend: finish or cancel
  --scopes <list>                 make-key: of generate,read,admin (all)
  --expires-days <n>              make-key: days until it expires (never)
  --overlap-hours <n>             rotate-key: how long the old key goes on opening (24)
  --id <text>                     top-up, refund, adjust: the same id is the same posting, written once (a new one)
  --reason <text>                 top-up, refund, adjust: why, as the statement shows it
  --from <day>, --to <day>        usage: such as 2026-11-01 (the current month)
  --by <what>                     usage: day, model, key or user (day)
  --csv                           statement, usage: a table
  --out <file>                    export-ledger: must not be there yet
  --yes                           erase, restore-ledger: without it nothing is done
  --json                          what the deployment answers, as JSON
  --help
`;
