/** What the bench of money asks of its module in workerd. */

/** What one request asks for. */
export interface Ask {
  /** `nothing` is the way there and back alone */
  readonly step: 'open' | 'nothing' | 'authenticate' | 'hold' | 'settle' | 'crowd';
  /** as `open` answered it */
  readonly account?: string;
  readonly key?: string;
  readonly keyId?: string;
  /** of `hold`, as it answered it, for `settle` */
  readonly job?: string;
  /** of `crowd`: whole jobs of the one account, so many at once */
  readonly jobs?: number;
}
